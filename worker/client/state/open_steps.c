/* The next step of a worker on arrival; see open_steps.h.
 *
 * Invariant: base <= top + 1, and done[] of the steps in [floor, top] is what is known of them. Thread: the client's.
 */
#include "worker/client/state/open_steps.h"

#include <assert.h>

#include "common/base/util.h"

static struct slot_set *done_at(const struct arrival *arrival, uint64_t step)
{
    return (struct slot_set *)&arrival->done[step % (ARRIVAL_STALENESS_MAX + 1)];
}

void arrival_begin(struct arrival *a, uint64_t step, uint32_t staleness)
{
    assert(staleness <= ARRIVAL_STALENESS_MAX);
    if (a->staleness == 0 || a->staleness != staleness) { /* nothing was open beside the step before */
        a->base = a->top = step;
        *done_at(a, step) = (struct slot_set){0};
    }
    a->staleness = staleness;
    for (; a->top < step; a->top++)
        *done_at(a, a->top + 1) = (struct slot_set){0};
    assert(a->base <= a->top + 1);
}

uint64_t arrival_floor(const struct arrival *a)
{
    uint64_t behind = a->top > a->staleness ? a->top - a->staleness : 0;
    return MAX(a->base, behind);
}

void arrival_complete(struct arrival *a, uint64_t step)
{
    if (step > a->top + 1) /* others have left this worker behind: it goes on from there */
        a->top = step - 1;
    a->base = MAX(a->base, step);
    assert(a->base <= a->top + 1);
}

static bool is_known(const struct arrival *a, uint64_t step)
{
    return a->staleness > 0 && step >= arrival_floor(a) && step <= a->top;
}

void arrival_done(struct arrival *a, uint64_t step, const struct slot_set *slots)
{
    if (is_known(a, step))
        slot_set_union(done_at(a, step), slots);
}

void arrival_asked(struct arrival *a, uint64_t step, const struct slot_set *slots)
{
    if (is_known(a, step))
        slot_set_subtract(done_at(a, step), slots);
}

void arrival_doubt(struct arrival *a)
{
    for (uint64_t step = arrival_floor(a); a->staleness > 0 && step <= a->top; step++)
        *done_at(a, step) = (struct slot_set){0};
}

void arrival_missing(const struct arrival *a, uint64_t step, struct slot_set *owed)
{
    if (is_known(a, step))
        slot_set_subtract(owed, done_at(a, step));
}

/* Slots without samples are never owed. */
static bool owes(const struct arrival *a, const struct duty *duty, const struct plan *plan, uint64_t step)
{
    struct slot_set owed;
    const struct plan_step at = plan_at(plan, step);
    duty_at(duty, step, &owed);
    arrival_missing(a, step, &owed);
    for (uint32_t slot = slot_set_first(&owed, 0, plan->slots); slot < plan->slots;
         slot = slot_set_first(&owed, slot + 1, plan->slots))
        if (!plan_slot_empty(plan, &at, slot))
            return true;
    return false;
}

uint64_t arrival_next(const struct arrival *a, const struct duty *duty, const struct plan *plan)
{
    for (uint64_t step = arrival_floor(a); step <= a->top; step++)
        if (owes(a, duty, plan, step))
            return step;
    return a->top + 1;
}
