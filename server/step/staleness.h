/* Staleness of applied gradients: a histogram of the commits on a slice between the version that a gradient was
 * computed on and its own commit. Under bsp it is 0 by construction; on arrival, K commits make a step.
 *
 * Thread: staleness_add: one writer; staleness_read: any (relaxed: each number by itself is one that was true). */
#ifndef DP_SERVER_STEP_STALENESS_H
#define DP_SERVER_STEP_STALENESS_H

#include <stdatomic.h>
#include <stdint.h>

/* Bucket 0: no commit in between; bucket i: [2^(i-1), 2^i) of them, the last one and more. */
enum { STALENESS_BUCKETS = 18 };

struct staleness {
    _Atomic uint64_t buckets[STALENESS_BUCKETS];
    _Atomic uint64_t sum, max;
};

/* A copy, or a sum of several. */
struct staleness_counts {
    uint64_t buckets[STALENESS_BUCKETS];
    uint64_t commits, sum, max;
};

/* `gradients` of them with `between` commits each. */
void staleness_add(struct staleness *staleness, uint64_t between, uint64_t gradients);
/* Adds what was counted so far to *counts. */
void staleness_read(const struct staleness *staleness, struct staleness_counts *counts);

#endif
