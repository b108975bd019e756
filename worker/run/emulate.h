/* Emulated compute, for planning capacity: a slot takes a time of one's choice, whatever the machine. The gradient is
 * computed all the same, so results have their bits; measurements show how the job runs with that number of workers of
 * such speeds. Thread: any. */
#ifndef DP_WORKER_RUN_EMULATE_H
#define DP_WORKER_RUN_EMULATE_H

#include <stdint.h>

#include "common/base/dp_err.h"

/* A zeroed one emulates nothing. */
struct emulate {
    double slot_ms;           /* least time of a slot; 0: nothing is emulated */
    double slower;            /* factor by which this worker takes longer */
    double stall_factor;      /* further factor, now and then */
    double stall_share;       /* of its slots */
    uint64_t seed;            /* of the worker's own stalls: another worker has others */
    const volatile int *stop; /* becomes non-zero: waits end; may be NULL */
};

/* The options' values: `stalls` is "FACTOR@SHARE", such as "3@0.2", or NULL. DP_USAGE. */
DP_MUST_CHECK dp_err emulate_init(struct emulate *emulate, double slot_ms, double slower, const char *stalls,
                                  dp_error *err);
/* Least time of a slot; 0: no time. */
double emulate_slot_ms(const struct emulate *emulate, uint64_t step, uint32_t slot);
/* Waits until the slot has taken that long, counted from begin_ns (mono_ns). */
void emulate_wait(const struct emulate *emulate, uint64_t step, uint32_t slot, uint64_t begin_ns);

#endif
