/* The step of the next checkpoint; see due.h. Thread: any. */
#include "server/result/due.h"

#include "common/base/util.h"
#include "server/step/job.h"

uint64_t due_ahead(uint32_t tries)
{
    if (tries == 0)
        return 0;
    return MIN(UINT64_C(1) << MIN(tries - 1, 63u), (uint64_t)SLICE_VERSIONS);
}

uint64_t due_soon(const struct plan *plan, uint64_t low, uint32_t tries)
{
    uint64_t step = MIN(low + due_ahead(tries), plan_total(plan));
    return tries == 0 ? step : plan_step_of(plan, plan_trained(plan, step));
}

uint64_t due_multiple(const struct plan *plan, uint64_t every, uint64_t low, uint32_t tries)
{
    uint64_t done = plan_trained(plan, MIN(low + due_ahead(tries), plan_total(plan)));
    uint64_t next = (done / every + 1) * every;
    return next < plan->train_steps ? next : UINT64_MAX;
}
