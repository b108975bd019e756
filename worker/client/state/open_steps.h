/* The next step of a worker while the slots of its steps commit on arrival: the slots of open steps that it is done
 * with, and the first step that it still owes something. Numbers in, numbers out.
 *
 * Under bsp a worker goes from step to step, and theta of the next one says that all of this one has arrived. On
 * arrival, steps up to `staleness` before the latest may be open still, and the head may give this worker slots of
 * them that somebody else was to compute: then it goes back. Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_OPEN_STEPS_H
#define DP_WORKER_CLIENT_STATE_OPEN_STEPS_H

#include "common/tensor/plan.h"
#include "worker/client/state/duty.h"
#include "worker/client/state/slot_set.h"

enum { ARRIVAL_STALENESS_MAX = 32 };

/* A zeroed one is at a step that commits once. */
struct arrival {
    uint32_t staleness; /* of the step at hand; 0: it commits once, and nothing below is looked at */
    uint64_t base;      /* all steps before it are complete */
    uint64_t top;       /* latest step that was at hand */
    struct slot_set done[ARRIVAL_STALENESS_MAX + 1]; /* of steps [floor, top]: handed in here or accepted, at step %
                                                        (ARRIVAL_STALENESS_MAX + 1) */
};

/* `step` is at hand: theta of it is whole, so the steps before step - staleness are complete. */
void arrival_begin(struct arrival *arrival, uint64_t step, uint32_t staleness);
/* The first step that may be incomplete. */
uint64_t arrival_floor(const struct arrival *arrival);
/* All steps before `step` are complete. */
void arrival_complete(struct arrival *arrival, uint64_t step);
/* Slots of a step, of [floor, top], that this worker need not compute any more. */
void arrival_done(struct arrival *arrival, uint64_t step, const struct slot_set *slots);
/* The head asks for slots of a step: whether they are there is to be found out anew. */
void arrival_asked(struct arrival *arrival, uint64_t step, const struct slot_set *slots);
/* Slots that were handed in may have been lost with a connection: for all steps that may be incomplete it is to be
 * found out anew what is there. Unlike under bsp, no answer to a pull says so. */
void arrival_doubt(struct arrival *arrival);
/* Leaves in `owed` the slots that are still to be done at a step. */
void arrival_missing(const struct arrival *arrival, uint64_t step, struct slot_set *owed);
/* The first step from the floor on of which something is owed and not done; the one after `top` if there is none. */
uint64_t arrival_next(const struct arrival *arrival, const struct duty *duty, const struct plan *plan);

#endif
