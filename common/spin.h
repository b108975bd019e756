/* Waiting awake for a moment before going to sleep. A core that sleeps takes longer to wake than a small step takes in
 * all, so who expects an answer at once looks for it some more times first. At most SPIN_US a wait, and other threads
 * go first at each look; not on a single core; and where answers take longer, as all do that need a real gradient, most
 * waits are not spun at all: each wait in vain doubles the number of those that sleep at once, up to SPIN_REST_MAX. In
 * vain is also one in which the others kept the core for SPIN_LATE_US: asleep, what came would have been seen sooner.
 * Thread: one at a time. */
#ifndef DP_SPIN_H
#define DP_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum { SPIN_US = 50, SPIN_LATE_US = 200, SPIN_REST_MAX = 63 };

/* Zeroed: not waiting. */
struct spin {
    uint64_t since_ns; /* this wait is awake since; 0: it is not */
    uint32_t rest;     /* waits to come that sleep at once, */
    uint32_t rest_len; /* and how many those were after the last wait in vain */
};

/* A wait begins. */
void spin_begin(struct spin *spin);
/* Whether to look once more before sleeping; lets others run first. */
bool spin_more(struct spin *spin);
/* What was waited for is here. */
void spin_found(struct spin *spin);

#endif
