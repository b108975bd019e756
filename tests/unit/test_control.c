/* Step-stamped control: lr changes at one step on all shards, however far each has come. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "leaks.h"

enum { ELEMS = 64 };

static struct cluster cluster;

static struct slice_job make_job(void)
{
    dp_error err;
    uint64_t elems = ELEMS;
    struct slice_job job = {
        .plan = {.seed = 1, .train_rows = 4, .batch = 4, .train_steps = 20, .slots = 1},
        .rule = &rule_sgd,
        .params = {.schedule = {.lr = 1, .period = 1, .period_mult = 1, .every = 1}},
    };
    cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_ZEROS, 0, true, &err), DP_OK);
    return job;
}

/* One shard gets the gradient 4 (mean 1) of a step. */
static void push(uint32_t s, uint64_t step)
{
    struct shard *shard = &cluster.ends[s].shard;
    uint64_t count = shard->slices[0].range.count;
    float *g = mem_array(count, sizeof *g);
    for (uint64_t i = 0; i < count; i++)
        g[i] = 4;
    struct blob blob = {g, count * sizeof *g, g, free};
    struct push_pull msg = {.push = true, .step = step, .node = 1, .metrics = {.count = 4}};
    shard_push_pull(shard, &msg, &blob);
}

static uint64_t next_of(uint32_t s)
{
    return cluster.ends[s].shard.slices[0].window.next;
}

static float theta_of(uint32_t s, uint64_t step)
{
    return slice_theta(&cluster.ends[s].shard.slices[0], step)->theta[0];
}

Test(control, agrees_on_one_step)
{
    struct slice_job job = make_job();
    cluster_start(&cluster, &job, 2, 1 << 20);
    for (uint64_t t = 0; t < 3; t++) /* shard 0 is three steps ahead */
        push(0, t);
    cr_assert_eq(shard_prepare(&cluster.ends[0].shard, 1), 3, "it has passed 1");
    cr_assert_eq(shard_prepare(&cluster.ends[1].shard, 1), 1);
    push(0, 3);
    push(1, 0);
    push(1, 1);
    cr_assert_eq(next_of(0), 3, "it waits although the step is complete");
    cr_assert_eq(next_of(1), 1, "likewise");
    cr_assert_eq(shard_prepare(&cluster.ends[0].shard, 3), 3);
    cr_assert_eq(shard_prepare(&cluster.ends[1].shard, 3), 3, "the second round agrees");
    shard_set_lr(&cluster.ends[0].shard, 3, 10);
    cr_assert_eq(next_of(0), 4, "and what had waited goes on");
    for (uint64_t t = 1; t < 4; t++)
        push(1, t);
    cr_assert_eq(next_of(1), 3, "the other has not been told yet");
    shard_set_lr(&cluster.ends[1].shard, 3, 10);
    cr_assert_eq(next_of(1), 4);
    for (uint32_t s = 0; s < 2; s++) {
        cr_assert_eq(theta_of(s, 3), -3.0F);
        cr_assert_eq(theta_of(s, 4), -13.0F);
    }
    cluster_stop(&cluster);
    ASSERT_NO_LEAKS();
}

Test(control, after_the_end_nothing_changes)
{
    struct slice_job job = make_job();
    cluster_start(&cluster, &job, 1, 1 << 20);
    shard_set_lr(&cluster.ends[0].shard, 20, 5);
    cr_assert_eq(cluster.ends[0].shard.own.params.schedule.change_count, 0);
    cluster_stop(&cluster);
}
