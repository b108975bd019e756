/* The plan of a job.
 *
 * Invariant: with evaluation, steps come in cycles of steps_per_epoch training steps and one evaluation; the last cycle
 * may have fewer training steps, and its evaluation is the job's last step. Thread: any. */
#include "common/tensor/plan.h"

#include <assert.h>
#include <inttypes.h>

#include "common/base/rng.h"
#include "common/base/util.h"

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
    struct plan_step at = {.asks = question_of(QUESTION_GRADIENT), .epoch = step / cycle};
    uint64_t in_epoch = step % cycle;
    at.train_step = at.epoch * per_epoch + in_epoch;
    if (in_epoch == per_epoch || at.train_step == plan->train_steps) {
        at.asks = question_of(QUESTION_LOSS);
        at.rows = plan->eval_rows;
        return at;
    }
    at.first = in_epoch * plan->batch;
    at.rows = MIN(plan->batch, plan->train_rows - at.first);
    return at;
}

uint64_t plan_step_of(const struct plan *plan, uint64_t train_step)
{
    uint64_t per_epoch = plan_steps_per_epoch(plan), cycle = per_epoch + (plan->eval_rows ? 1 : 0);
    if (train_step >= plan->train_steps)
        return plan_total(plan);
    return train_step / per_epoch * cycle + train_step % per_epoch;
}

uint64_t plan_trained(const struct plan *plan, uint64_t step)
{
    return step < plan_total(plan) ? plan_at(plan, step).train_step : plan->train_steps;
}

const struct question *plan_question(const struct plan *plan, uint64_t step)
{
    return plan_at(plan, step).asks;
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

/* The windows of an epoch whose order is by blocks. */
struct block_order {
    const struct plan *plan;
    uint64_t epoch;
    struct perm blocks; /* of the whole ones */
    uint64_t window;    /* that `rows` is of */
    struct perm rows;   /* of the window */
};

static void window_begin(struct block_order *order, uint64_t window)
{
    uint64_t span = order->plan->block_rows * order->plan->window_blocks, begin = window * span;
    /* The permutation of the blocks has the first PERM_ROUNDS numbers of the epoch for itself. */
    uint64_t seed = rng_u64(order->plan->seed, RNG_STREAM_SHUFFLE, order->epoch, PERM_ROUNDS + window);
    order->window = window;
    perm_init(&order->rows, MIN(span, order->plan->train_rows - begin), seed, 0);
}

/* Row at place `at` of the epoch's order. */
static uint64_t block_order_at(struct block_order *order, uint64_t at)
{
    const struct plan *plan = order->plan;
    uint64_t span = plan->block_rows * plan->window_blocks;
    if (at / span != order->window)
        window_begin(order, at / span);
    uint64_t in_window = perm_at(&order->rows, at % span);
    uint64_t block = at / span * plan->window_blocks + in_window / plan->block_rows;
    if (block < order->blocks.n)
        block = perm_at(&order->blocks, block);
    return block * plan->block_rows + in_window % plan->block_rows;
}

static void block_rows(const struct plan *plan, uint64_t epoch, uint64_t start, uint64_t count, uint64_t *rows)
{
    struct block_order order = {.plan = plan, .epoch = epoch, .window = UINT64_MAX};
    perm_init(&order.blocks, plan->train_rows / plan->block_rows, plan->seed, epoch);
    for (uint64_t i = 0; i < count; i++)
        rows[i] = block_order_at(&order, start + i);
}

void plan_rows(const struct plan *plan, const struct plan_step *at, uint64_t first, uint64_t count, uint64_t *rows)
{
    assert(first <= at->rows && count <= at->rows - first);
    uint64_t start = at->first + first;
    if (at->asks->rows == ROWS_EVAL || plan->batch == plan->train_rows) {
        for (uint64_t i = 0; i < count; i++)
            rows[i] = start + i;
        return;
    }
    if (plan->block_rows) {
        block_rows(plan, at->epoch, start, count, rows);
        return;
    }
    struct perm perm;
    perm_init(&perm, plan->train_rows, plan->seed, at->epoch);
    for (uint64_t i = 0; i < count; i++)
        rows[i] = perm_at(&perm, start + i);
}
