/* The property that the whole design leans on: whatever nodes of a step's tree arrive, in whatever order, how often and
 * overlapping how, theta and the metrics have the bits of the plain sum over slots. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "server/dense/slice.h"
#include "tests/unit/support/leaks.h"

enum { ELEMS_MAX = 3000, SLOTS_MAX = 40 };

/* The gradients of one step's slots, and the same summed by the rule: left + right, an absent child skipped. */
struct truth {
    const struct shard_job *job;
    struct plan_step at;
    uint32_t leaves;
    uint64_t elems;
    float *gradients; /* [slots][elems] */
};

static uint64_t draw(uint64_t *at, uint64_t low, uint64_t high)
{
    return low + rng_u64(4, RNG_STREAM_INIT, 9, (*at)++) % (high - low + 1);
}

/* Numbers of all magnitudes, so that another order of additions would give other bits. */
static void fill_gradients(struct truth *truth, uint64_t *seed)
{
    uint64_t a = draw(seed, 0, 1 << 30), n = truth->elems * truth->job->plan.slots;
    for (uint64_t i = 0; i < n; i++) {
        float scale = (float)(1 << rng_u64(6, RNG_STREAM_INIT, a, i) % 20);
        truth->gradients[i] = rng_normal(5, RNG_STREAM_INIT, a, i) * scale;
    }
}

/* Sum of node `node` (heap number) to out and metrics; false if it has no samples. */
static bool true_sum(const struct truth *truth, uint32_t node, float *out, struct metrics *metrics)
{
    if (node >= truth->leaves) {
        uint32_t k = node - truth->leaves;
        if (k >= truth->job->plan.slots || plan_slot_empty(&truth->job->plan, &truth->at, k))
            return false;
        uint64_t first, count;
        plan_slot(&truth->job->plan, &truth->at, k, &first, &count);
        memcpy(out, truth->gradients + k * truth->elems, truth->elems * sizeof *out);
        *metrics = (struct metrics){count, (double)out[0] * 1.1, count / 2};
        return true;
    }
    AUTOFREE float *right = mem_array(truth->elems, sizeof *right);
    struct metrics right_metrics;
    bool has_left = true_sum(truth, 2 * node, out, metrics);
    if (!true_sum(truth, 2 * node + 1, right, &right_metrics))
        return has_left;
    if (!has_left) {
        memcpy(out, right, truth->elems * sizeof *out);
        *metrics = right_metrics;
        return true;
    }
    for (uint64_t i = 0; i < truth->elems; i++)
        out[i] = out[i] + right[i];
    metrics->count += right_metrics.count;
    metrics->loss = metrics->loss + right_metrics.loss;
    metrics->correct += right_metrics.correct;
    return true;
}

/* Pushes the node as a worker would. */
static void push(struct slice *slice, const struct truth *truth, uint64_t step, uint32_t node)
{
    struct blob payload = {0};
    struct metrics metrics;
    float *sum = mem_array(truth->elems, sizeof *sum);
    if (!true_sum(truth, node, sum, &metrics)) {
        free(sum);
        return;
    }
    if (truth->at.asks->commits)
        payload = (struct blob){sum, truth->elems * sizeof *sum, sum, free};
    else
        free(sum);
    cr_assert_neq(slice_push(slice, step, node, &payload, &metrics), STEPS_AHEAD);
    cr_assert_null(payload.data);
}

/* Random nodes until the step is complete: single slots mostly, blocks of all sizes, many of them more than once. */
static void push_until_ready(struct slice *slice, const struct truth *truth, uint64_t step, uint64_t *seed)
{
    uint32_t levels = 1;
    while (truth->leaves >> levels)
        levels++;
    for (uint32_t tries = 0; !slice_ready(slice); tries++) {
        cr_assert_lt(tries, 100000, "step %lu does not become complete", (unsigned long)step);
        uint32_t level = (uint32_t)draw(seed, 0, draw(seed, 0, levels - 1));
        uint32_t node = steps_node(&slice->window, level, (uint32_t)draw(seed, 0, (truth->leaves >> level) - 1));
        if (node)
            push(slice, truth, step, node);
    }
    cr_assert_leq(steps_held(&slice->window, step), slice->window.slots / 2 + 1);
}

static void run_step(struct slice *slice, struct truth *truth, uint64_t step, float *theta, uint64_t *seed)
{
    AUTOFREE float *g = mem_array(truth->elems, sizeof *g);
    struct metrics want = {0}, got;
    dp_error err;
    truth->at = plan_at(&truth->job->plan, step);
    fill_gradients(truth, seed);
    push_until_ready(slice, truth, step, seed);
    cr_assert_eq(slice_commit(slice, &got, &err), DP_OK);
    cr_assert(true_sum(truth, 1, g, &want));
    cr_assert_eq(got.count, truth->at.rows);
    cr_assert_eq(got.count, want.count);
    cr_assert_eq(got.correct, want.correct);
    cr_assert_arr_eq(&got.loss, &want.loss, sizeof got.loss, "loss %a, not %a", got.loss, want.loss);
    struct kernel_update p = update_at(truth->job->rule, &truth->job->params, &truth->job->regular[0],
                                       schedule_rate(&truth->job->params.schedule, truth->at.train_step),
                                       truth->at.train_step, truth->at.rows);
    for (uint64_t i = 0; i < truth->elems && truth->at.asks->commits; i++) {
        float u = g[i] * p.inv_count + p.l2 * theta[i];
        theta[i] = theta[i] - p.lr * u;
    }
    cr_assert_arr_eq(slice_theta(slice, step + 1)->theta, theta, truth->elems * sizeof *theta, "theta after step %lu",
                     (unsigned long)step);
    slice_release_before(slice, step + 1);
}

static void run_job(uint64_t elems, uint32_t slots, uint64_t rows, uint64_t batch, uint64_t *seed)
{
    struct shard_job job = {.plan = {.seed = *seed,
                                     .train_rows = rows,
                                     .eval_rows = rows / 3,
                                     .batch = batch,
                                     .train_steps = 5,
                                     .slots = slots},
                            .rule = update_rule_at(0),
                            .params = {.schedule.lr = 0.1},
                            .regular = {{.l2 = 0.01}}};
    struct slice slice;
    dp_error err;
    cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert_eq(slice_init(&slice, &job, (struct range){0, elems}, &err), DP_OK);
    struct truth truth = {.job = &job, .leaves = slice.window.leaves, .elems = elems};
    AUTOFREE float *gradients = mem_array(elems * slots, sizeof *gradients), *theta = mem_array(elems, sizeof *theta);
    truth.gradients = gradients;
    tensors_init_range(&job.tensors, job.plan.seed, 0, elems, theta);
    for (uint64_t step = 0; step < plan_total(&job.plan); step++)
        run_step(&slice, &truth, step, theta, seed);
    slice_fini(&slice);
}

Test(fold, any_nodes_in_any_order_give_the_bits_of_the_plain_sum)
{
    uint64_t seed = 0;
    dp_error err;
    cr_assert_eq(kernels_select("auto", &err), DP_OK);
    for (int i = 0; i < 150; i++) {
        uint32_t slots = (uint32_t)draw(&seed, 1, SLOTS_MAX);
        uint64_t rows = draw(&seed, 1, 120);
        run_job(draw(&seed, 1, 200), slots, rows, draw(&seed, 1, rows), &seed);
    }
    ASSERT_NO_LEAKS();
}

/* Slices larger than the blocks in which a slice sums its tree. */
Test(fold, large_slices)
{
    uint64_t seed = 1000000;
    dp_error err;
    cr_assert_eq(kernels_select("auto", &err), DP_OK);
    run_job(ELEMS_MAX, 8, 100, 30, &seed);
    run_job(2048, 13, 100, 100, &seed);
    run_job(1025, SLOTS_MAX, 20, 15, &seed);
    ASSERT_NO_LEAKS();
}
