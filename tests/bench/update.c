/* Bytes per second of every rule's commit, and the ratio to a triad measured in the same run with the same threads.
 *
 *   bench_update [--threads N] [--rule NAME] [auto|ref|avx2|avx512]
 *
 * Bytes are those that a rule must read and write: theta_t, the gradient and its state in, theta_{t+1} and the state
 * out (what a cache fetches before a write is not counted, in the triad neither). The triad has plain
 * stores, as the rules have: a slice's theta is sent soon, and streaming stores would put it out of the cache. Their
 * figure is a row of its own. The arrays of a run lie end to end in slices, as a shard's do; each thread has
 * its own slices, as shards have. The best of several runs is taken. Thread: main and its own. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "server/update/update.h"

enum { RUNS = 9, THREADS_MAX = 64, CHUNK = 1024, ARRAYS = 6 };
static const size_t SIZES[] = {10000, 1000000, 100000000};
static const uint64_t RUN_NS = 60000000;

static const struct update_params PARAMS = {.schedule = {.lr = 1e-3},
                                            .momentum = 0.9,
                                            .beta1 = 0.9,
                                            .beta2 = 0.999,
                                            .alpha = 0.99,
                                            .eps = 1e-8,
                                            .ftrl_beta = 1};
static const struct regular REGULAR = {.l2 = 1e-4, .l1 = 1e-6, .group_size = 1};

/* The part of the arrays that one thread works on. */
struct part {
    pthread_t thread;
    pthread_barrier_t *barrier;
    const struct update_rule *rule; /* NULL: a triad */
    bool streaming;
    size_t n, calls;
    uint64_t start_ns, end_ns;
    float *w, *g, *out, *state[UPDATE_STATE_MAX];
};

static void triad_plain(size_t n, const float *b, const float *c, float *a)
{
    for (size_t i = 0; i < n; i++)
        a[i] = b[i] + 3.0F * c[i];
    __asm__ volatile("" ::"r"(a) : "memory");
}

static void triad_streaming(size_t n, const float *b, const float *c, float *a)
{
#if defined(__x86_64__)
    size_t i = 0;
    __m128 three = _mm_set1_ps(3);
    for (; i + 4 <= n; i += 4)
        _mm_stream_ps(a + i, _mm_add_ps(_mm_loadu_ps(b + i), _mm_mul_ps(three, _mm_loadu_ps(c + i))));
    _mm_sfence();
    triad_plain(n - i, b + i, c + i, a + i);
#else
    triad_plain(n, b, c, a);
#endif
}

/* A commit as a slice does it: runs of a block, and the rule on each. */
static void commit(const struct part *p)
{
    struct kernel_update k = update_at(p->rule, &PARAMS, &REGULAR, schedule_rate(&PARAMS.schedule, 10), 10, 1000);
    for (size_t at = 0; at < p->n; at += CHUNK) {
        float *state[UPDATE_STATE_MAX] = {p->state[0] + at, p->state[1] + at, p->state[2] + at};
        p->rule->step(MIN((size_t)CHUNK, p->n - at), &k, p->w + at, p->g + at, state, p->out + at);
    }
}

static void *work(void *arg)
{
    struct part *p = arg;
    pthread_barrier_wait(p->barrier);
    p->start_ns = mono_ns();
    for (size_t i = 0; i < p->calls; i++)
        if (p->rule)
            commit(p);
        else if (p->streaming)
            triad_streaming(p->n, p->w, p->g, p->out);
        else
            triad_plain(p->n, p->w, p->g, p->out);
    p->end_ns = mono_ns();
    return NULL;
}

/* Nanoseconds of `calls` calls on all threads at once, by their own clocks: this thread may be woken long after them.
 */
static uint64_t run(struct part *parts, size_t threads, size_t calls)
{
    pthread_barrier_t barrier;
    uint64_t start = UINT64_MAX, end = 0;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (size_t t = 0; t < threads; t++) {
        parts[t].barrier = &barrier;
        parts[t].calls = calls;
        if (pthread_create(&parts[t].thread, NULL, work, &parts[t]))
            abort();
    }
    for (size_t t = 0; t < threads; t++) {
        pthread_join(parts[t].thread, NULL);
        start = MIN(start, parts[t].start_ns);
        end = MAX(end, parts[t].end_ns);
    }
    pthread_barrier_destroy(&barrier);
    return end - start;
}

/* Bytes per nanosecond of one run. */
static double rate(struct part *parts, size_t threads, size_t n, size_t bytes)
{
    size_t calls = 1 + (size_t)(RUN_NS / (2 + n * bytes / 10 / threads));
    return (double)(n * bytes * calls) / (double)run(parts, threads, calls);
}

static void set_parts(struct part *parts, size_t threads, size_t n, float *const *arrays,
                      const struct update_rule *rule, bool streaming)
{
    for (size_t t = 0; t < threads; t++) {
        size_t first = part_bound(n, t, threads) / 16 * 16;
        size_t end = t + 1 == threads ? n : part_bound(n, t + 1, threads) / 16 * 16;
        parts[t] = (struct part){.rule = rule, .streaming = streaming, .n = end - first};
        parts[t].w = arrays[0] + first;
        parts[t].g = arrays[1] + first;
        parts[t].out = arrays[2] + first;
        parts[t].state[0] = arrays[3] + first;
        parts[t].state[1] = arrays[4] + first;
        parts[t].state[2] = arrays[5] + first;
    }
}

static void fill(float *const *arrays, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        arrays[0][i] = (float)(i % 1000) * 0.001F;
        arrays[1][i] = (float)(i % 777) * 0.002F;
        for (int a = 2; a < ARRAYS; a++)
            arrays[a][i] = 0.5F;
    }
}

struct subject {
    const struct update_rule *rule; /* NULL: a triad */
    bool streaming;
};

static void measure(float *const *arrays, size_t threads, size_t n, const struct subject *subject)
{
    struct part triad[THREADS_MAX], parts[THREADS_MAX];
    size_t bytes = 12 + 8 * (subject->rule ? subject->rule->state_count : 0);
    double best = 0, best_triad = 0;
    set_parts(triad, threads, n, arrays, NULL, false);
    set_parts(parts, threads, n, arrays, subject->rule, subject->streaming);
    for (int i = 0; i < RUNS; i++) {
        double a = rate(triad, threads, n, 12), b = rate(parts, threads, n, bytes);
        best_triad = MAX(best_triad, a);
        best = MAX(best, b);
    }
    printf("  %17.2f  %6.2f", best, best / best_triad);
    fflush(stdout);
}

static void report(float *const *arrays, size_t threads, const char *only)
{
    printf("%-10s %5s", "rule", "bytes");
    for (size_t s = 0; s < ARRAY_LEN(SIZES); s++)
        printf("  %11zu: GB/s  /triad", SIZES[s]);
    printf("\n");
    for (int r = -2; r < UPDATE_RULES; r++) {
        struct subject subject = {r < 0 ? NULL : update_rule_at(r), r == -1};
        const char *name = r == -2 ? "triad" : r == -1 ? "triad, nt" : subject.rule->name;
        if (only && strcmp(only, name) != 0)
            continue;
        printf("%-10s %5u", name, 12 + 8 * (subject.rule ? subject.rule->state_count : 0));
        for (size_t s = 0; s < ARRAY_LEN(SIZES); s++)
            measure(arrays, threads, SIZES[s], &subject);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    dp_error err;
    size_t threads = 1;
    const char *only = NULL;
    for (; argc > 2 && argv[1][0] == '-'; argc -= 2, argv += 2)
        if (strcmp(argv[1], "--threads") == 0)
            threads = (size_t)strtoul(argv[2], NULL, 10);
        else
            only = argv[2];
    if (threads < 1 || threads > THREADS_MAX || kernels_select(argc > 1 ? argv[1] : "auto", &err)) {
        fprintf(stderr, "usage: bench_update [--threads 1..%d] [--rule NAME] [auto|ref|avx2|avx512]\n", THREADS_MAX);
        return 2;
    }
    float *arrays[ARRAYS];
    size_t n = SIZES[ARRAY_LEN(SIZES) - 1];
    for (int a = 0; a < ARRAYS; a++)
        if (!(arrays[a] = mem_array(n, sizeof(float)))) {
            fprintf(stderr, "bench_update: out of memory\n");
            return 1;
        }
    fill(arrays, n);
    printf("kernels %s, threads %zu\n", kernels_get()->name, threads);
    report(arrays, threads, only);
    for (int a = 0; a < ARRAYS; a++)
        free(arrays[a]);
    return 0;
}
