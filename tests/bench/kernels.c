/* Bytes per second of every kernel, and the ratio to a plain triad measured in the same run.
 *
 *   bench_kernels [auto|ref|avx2|avx512]
 *
 * Bytes are those that a kernel must read and write (what a cache fetches before a write is not counted, in the triad
 * neither). The best of several runs is taken. Thread: main. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/kernels/kernels.h"
#include "common/kernels/numerics.h"

enum { RUNS = 7, SIZES = 3 };
static const size_t ELEMS[SIZES] = {10000, 1000000, 10000000};
static const uint64_t RUN_NS = 30000000;

struct arrays {
    float *a, *b, *c, *d;
};

static const struct kernel_update UPDATE = {.inv_count = 0.001F, .lr = 0.1F, .l2 = 1e-4F, .momentum = 0.9F};
static volatile double result; /* keeps the reductions from being dropped */

static void run_triad(const struct kernels *k, size_t n, const struct arrays *x)
{
    (void)k;
    const float *b = x->b, *c = x->c;
    float *d = x->d;
    for (size_t i = 0; i < n; i++)
        d[i] = b[i] + 3.0F * c[i];
    __asm__ volatile("" ::"r"(d) : "memory");
}

static void run_add(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->add(n, x->a, x->b, x->d);
}

static void run_canonicalize(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->canonicalize(n, x->a, x->d);
}

static void run_axpy(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->axpy(n, 1e-20F, x->a, x->d);
}

static void run_exp(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->exp(n, x->a, x->d);
}

static void run_log1p(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->log1p(n, x->a, x->d);
}

static void run_tanh(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->tanh(n, x->a, x->d);
}

static void run_sum(const struct kernels *k, size_t n, const struct arrays *x)
{
    result = k->sum(n, x->a);
}

static void run_dot(const struct kernels *k, size_t n, const struct arrays *x)
{
    result = k->dot(n, x->a, x->b);
}

static void run_sum_squares(const struct kernels *k, size_t n, const struct arrays *x)
{
    result = k->sum_squares(n, x->a);
}

static void run_sgd(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->sgd(n, &UPDATE, x->a, x->b, x->d);
}

static void run_momentum(const struct kernels *k, size_t n, const struct arrays *x)
{
    k->momentum(n, &UPDATE, x->a, x->b, x->c, x->d);
}

static const struct bench {
    const char *name;
    size_t bytes; /* per element */
    void (*run)(const struct kernels *k, size_t n, const struct arrays *x);
} BENCHES[] = {
    {"triad", 12, run_triad}, {"add", 12, run_add},    {"canonicalize", 8, run_canonicalize},
    {"axpy", 12, run_axpy},   {"sgd", 12, run_sgd},    {"momentum", 20, run_momentum},
    {"sum", 4, run_sum},      {"dot", 8, run_dot},     {"sum_squares", 4, run_sum_squares},
    {"exp", 8, run_exp},      {"log1p", 8, run_log1p}, {"tanh", 8, run_tanh},
};

/* Nanoseconds of one call, the best of RUNS runs of at least RUN_NS. */
static double measure(const struct bench *bench, size_t n, const struct arrays *x)
{
    const struct kernels *k = kernels_get();
    double best = 0;
    for (int run = 0; run < RUNS; run++) {
        uint64_t start = mono_ns(), calls = 0, spent;
        do {
            bench->run(k, n, x);
            calls++;
            spent = mono_ns() - start;
        } while (spent < RUN_NS);
        double ns = (double)spent / (double)calls;
        best = run == 0 || ns < best ? ns : best;
    }
    return best;
}

static void fill(const struct arrays *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x->a[i] = (float)(i % 1000) * 0.001F;
        x->b[i] = (float)(i % 777) * 0.002F;
        x->c[i] = 0;
        x->d[i] = 0;
    }
}

static void report(const struct arrays *x)
{
    double triad[SIZES] = {0};
    printf("%-14s", "kernel");
    for (int s = 0; s < SIZES; s++)
        printf("  %10zu: GB/s  /triad", ELEMS[s]);
    printf("\n");
    for (size_t b = 0; b < ARRAY_LEN(BENCHES); b++) {
        printf("%-14s", BENCHES[b].name);
        for (int s = 0; s < SIZES; s++) {
            double rate = (double)(BENCHES[b].bytes * ELEMS[s]) / measure(&BENCHES[b], ELEMS[s], x);
            triad[s] = b == 0 ? rate : triad[s];
            printf("  %16.2f  %6.2f", rate, rate / triad[s]);
            fflush(stdout);
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    dp_error err;
    if (kernels_select(argc > 1 ? argv[1] : "auto", &err) != DP_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.text);
        return 2;
    }
    size_t n = ELEMS[SIZES - 1];
    struct arrays x = {mem_array(n, sizeof(float)), mem_array(n, sizeof(float)), mem_array(n, sizeof(float)),
                       mem_array(n, sizeof(float))};
    int status = 1;
    if (x.a && x.b && x.c && x.d) {
        fill(&x, n);
        printf("%s\n", numerics_fingerprint());
        report(&x);
        status = 0;
    } else {
        fprintf(stderr, "bench_kernels: out of memory\n");
    }
    free(x.a);
    free(x.b);
    free(x.c);
    free(x.d);
    return status;
}
