/* The plan of a job.
 *
 * Invariant: with evaluation, steps come in cycles of steps_per_epoch training steps and one evaluation; the last cycle
 * may have fewer training steps, and its evaluation is the job's last step. Thread: any. */
#include "plan.h"

#include <assert.h>
#include <inttypes.h>

#include "rng.h"
#include "util.h"

static const uint64_t PLAN_MAX = (uint64_t)1 << 56;

dp_err plan_check(const struct plan *plan, dp_error *err)
{
    if (plan->train_rows < 1 || plan->train_rows > PLAN_MAX || plan->eval_rows > PLAN_MAX)
        return dp_fail(err, DP_USAGE,
                       "training rows must be 1..2^56 and evaluation rows at most 2^56, not %" PRIu64 " and %" PRIu64,
                       plan->train_rows, plan->eval_rows);
    if (plan->batch < 1 || plan->batch > plan->train_rows)
        return dp_fail(err, DP_USAGE, "the minibatch must have 1..%" PRIu64 " rows (the training set), not %" PRIu64,
                       plan->train_rows, plan->batch);
    if (plan->train_steps < 1 || plan->train_steps > PLAN_MAX)
        return dp_fail(err, DP_USAGE, "training steps must be 1..2^56, not %" PRIu64, plan->train_steps);
    if (plan->slots < 1)
        return dp_fail(err, DP_USAGE, "slots must be at least 1");
    return DP_OK;
}

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

uint64_t plan_steps_per_epoch(const struct plan *plan)
{
    return ceil_div(plan->train_rows, plan->batch);
}

uint64_t plan_total(const struct plan *plan)
{
    uint64_t evals = plan->eval_rows ? ceil_div(plan->train_steps, plan_steps_per_epoch(plan)) : 0;
    return plan->train_steps + evals;
}

struct plan_step plan_at(const struct plan *plan, uint64_t step)
{
    assert(step < plan_total(plan));
    uint64_t per_epoch = plan_steps_per_epoch(plan);
    uint64_t cycle = per_epoch + (plan->eval_rows ? 1 : 0);
    struct plan_step at = {.kind = PLAN_TRAIN, .epoch = step / cycle};
    uint64_t in_epoch = step % cycle;
    at.train_step = at.epoch * per_epoch + in_epoch;
    if (in_epoch == per_epoch || at.train_step == plan->train_steps) {
        at.kind = PLAN_EVAL;
        at.rows = plan->eval_rows;
        return at;
    }
    at.first = in_epoch * plan->batch;
    at.rows = MIN(plan->batch, plan->train_rows - at.first);
    return at;
}

void plan_slot(const struct plan *plan, const struct plan_step *at, uint32_t k, uint64_t *ret_first,
               uint64_t *ret_count)
{
    assert(k < plan->slots);
    uint64_t first = part_bound(at->rows, k, plan->slots);
    *ret_first = first;
    *ret_count = part_bound(at->rows, k + 1, plan->slots) - first;
}

bool plan_slot_empty(const struct plan *plan, const struct plan_step *at, uint32_t k)
{
    uint64_t first, count;
    plan_slot(plan, at, k, &first, &count);
    return count == 0;
}

void plan_rows(const struct plan *plan, const struct plan_step *at, uint64_t first, uint64_t count, uint64_t *rows)
{
    assert(first <= at->rows && count <= at->rows - first);
    uint64_t start = at->first + first;
    if (at->kind == PLAN_EVAL || plan->batch == plan->train_rows) {
        for (uint64_t i = 0; i < count; i++)
            rows[i] = start + i;
        return;
    }
    struct perm perm;
    perm_init(&perm, plan->train_rows, plan->seed, at->epoch);
    for (uint64_t i = 0; i < count; i++)
        rows[i] = perm_at(&perm, start + i);
}
