/* The streaming bandwidth of this machine, for the limit that no exchange can pass. Thread: main. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/bench/exchange/bench.h"

enum { RUNS = 5 };
static const size_t ELEMS = 8000000;

static double triad_seconds(float *restrict d, const float *b, const float *c)
{
    double start = seconds_now();
    for (size_t i = 0; i < ELEMS; i++)
        d[i] = b[i] + 3.0F * c[i];
    __asm__ volatile("" ::"r"(d) : "memory");
    return seconds_now() - start;
}

double memory_rate(void)
{
    AUTOFREE float *b = mem_array_zero(ELEMS, sizeof *b);
    AUTOFREE float *c = mem_array_zero(ELEMS, sizeof *c);
    AUTOFREE float *d = mem_array_zero(ELEMS, sizeof *d);
    if (!b || !c || !d)
        return -1;
    double best = triad_seconds(d, b, c);
    for (int run = 0; run < RUNS; run++)
        best = MIN(best, triad_seconds(d, b, c));
    return 3.0 * (double)ELEMS * sizeof(float) / best;
}
