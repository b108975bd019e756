/* Slots that a worker owes at a step, from the assignments of the head: numbers in, numbers out.
 *
 * An assignment holds from its from_step on until one with a later from_step takes over; extra slots hold at one step
 * only. A newer message overrides what an older one said of the same steps. Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_DUTY_H
#define DP_WORKER_CLIENT_STATE_DUTY_H

#include "worker/client/state/slot_set.h"

/* As many steps may be open side by side (open_steps.h), and some to come. */
enum { DUTY_ASSIGNS_MAX = 40, DUTY_EXTRAS_MAX = 40 };

struct duty_entry {
    uint64_t step;
    struct slot_set slots;
};

/* A zeroed one knows of no assignment. */
struct duty {
    size_t assign_count;
    struct duty_entry assigns[DUTY_ASSIGNS_MAX]; /* by ascending from_step */
    size_t extra_count;
    struct duty_entry extras[DUTY_EXTRAS_MAX]; /* by ascending step */
};

/* An assignment of the head; borrowed for the call. */
struct duty_assign {
    uint64_t from_step;
    const uint32_t *slots;
    size_t slot_count;
    uint64_t extra_step;
    const uint32_t *extra_slots;
    size_t extra_count;
};

/* Takes up an assignment at `step`; what concerns only steps before it is forgotten, slots out of range are ignored.
 * If more are pending than are kept, those furthest in the future are forgotten: the head gives the slots they name to
 * another worker when they are missed. */
void duty_take(struct duty *duty, const struct duty_assign *assign, uint64_t step);
/* The slots owed at `step`. */
void duty_at(const struct duty *duty, uint64_t step, struct slot_set *ret_slots);

#endif
