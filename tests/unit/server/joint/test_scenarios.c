/* The purposes of the rules of slots and versions, by name: two shards, workers that are killed or beaten at the worst
 * moment, and theta that has the bits of a quiet step. The real programs go through the same in
 * integration/test_zombies and test_chaos. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/deal/dealer.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"

enum { ELEMS = 64, SLOTS = 4, SHARDS = 2 };

static struct cluster cluster;
static struct shard_job job;

static void set_up(void)
{
    dp_error err;
    uint64_t elems = ELEMS;
    job = (struct shard_job){
        .plan = {.seed = 1, .train_rows = SLOTS, .batch = SLOTS, .train_steps = 20, .slots = SLOTS},
        .rule = &rule_sgd,
        .params = {.schedule = {.lr = 0.1, .period = 1, .period_mult = 1, .every = 1}},
    };
    cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_ZEROS, 0, true, &err), DP_OK);
    cluster_start(&cluster, &job, SHARDS, 1 << 20);
}

static void tear_down(void)
{
    cluster_stop(&cluster);
    ASSERT_NO_LEAKS();
}

/* A slot's gradient: numbers whose sum depends on the order. */
static float gradient(uint32_t slot, uint64_t at)
{
    return 0.1f * (float)(slot + 1) + 1e-4f * (float)at;
}

static void push_node(uint32_t s, uint64_t step, uint32_t level, uint32_t index)
{
    struct shard *shard = &cluster.ends[s].shard;
    const struct slice *slice = &shard->slices[0];
    float *g = mem_array_zero(slice->range.count, sizeof *g);
    for (uint64_t i = 0; i < slice->range.count; i++) {
        uint32_t first = index << level;
        g[i] = gradient(first, slice->range.first + i);
        if (level == 1)
            g[i] += gradient(first + 1, slice->range.first + i);
    }
    struct blob blob = {g, slice->range.count * sizeof *g, g, free};
    struct push_pull msg = {.push = true,
                            .step = step,
                            .node = steps_node(&slice->window, level, index),
                            .metrics = {.count = 1u << level}};
    shard_push_pull(shard, &msg, &blob);
}

static void push(uint32_t s, uint64_t step, uint32_t slot)
{
    push_node(s, step, 0, slot);
}

static uint64_t next_of(uint32_t s)
{
    return cluster.ends[s].shard.slices[0].window.next;
}

/* theta after one step in which nothing happens. */
static void quiet_theta(float *theta)
{
    set_up();
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        for (uint32_t s = 0; s < SHARDS; s++)
            push(s, 0, slot);
    cluster_theta(&cluster, 1, theta);
    cluster_stop(&cluster);
}

static void assert_quiet_bits(const float *want)
{
    float got[ELEMS];
    for (uint32_t s = 0; s < SHARDS; s++)
        cr_assert_eq(next_of(s), 1);
    cluster_theta(&cluster, 1, got);
    cr_assert_arr_eq(got, want, sizeof got);
}

/* Rule 1: the shard that has the slot goes on, and keeps theta_0 for whoever has to compute it for the other one. */
Test(scenarios, a_worker_killed_between_its_pushes_to_two_shards)
{
    float want[ELEMS];
    struct dealer dealer;
    uint32_t owed[SLOTS];
    uint64_t step;
    quiet_theta(want);
    set_up();
    cr_assert_eq(dealer_init(&dealer, SLOTS, 0), DP_OK);
    dealer_deal(&dealer, 0, 0, (struct dealer_member[]){{0, 1, 0}, {1, 1, 0}}, 2);
    cr_assert_eq(dealer.owner[3], 1);
    for (uint32_t slot = 0; slot < 3; slot++)
        for (uint32_t s = 0; s < SHARDS; s++)
            push(s, 0, slot);
    push(0, 0, 3); /* and dies */
    cr_assert_eq(next_of(0), 1);
    cr_assert_eq(next_of(1), 0);
    dealer_deal(&dealer, 0, 0, (struct dealer_member[]){{0, 1, 0}}, 1);
    cr_assert_eq(dealer.owner[3], 0, "the survivor owes it now");
    cr_assert_eq(shard_owed(&cluster.ends[1].shard, &step, owed), 1);
    cr_assert_eq(owed[0], 3);
    for (uint32_t s = 0; s < SHARDS; s++)
        cr_assert_not_null(slice_theta(&cluster.ends[s].shard.slices[0], 0), "theta_0 is there to compute it from");
    for (uint32_t s = 0; s < SHARDS; s++)
        push(s, 0, 3);
    assert_quiet_bits(want);
    dealer_fini(&dealer);
    tear_down();
}

/* The same on arrival, where each shard has committed what it has: whoever goes back to the step is told which slots
 * are there, computes what any shard lacks, and no shard commits it twice. */
Test(scenarios, on_arrival_a_worker_killed_between_its_pushes_to_two_shards)
{
    uint8_t accepted[SHARDS][STEPS_ACCEPTED_BYTES] = {{0}};
    set_up();
    cluster_stop(&cluster);
    cr_assert(consistency_set(&job.consistency, 0, 2));
    cluster_start(&cluster, &job, SHARDS, 1 << 20);
    for (uint32_t slot = 0; slot < 3; slot++)
        for (uint32_t s = 0; s < SHARDS; s++)
            push(s, 0, slot);
    push(0, 0, 3); /* and dies */
    push(1, 1, 0); /* others are ahead */
    for (uint32_t s = 0; s < SHARDS; s++) {
        const struct slice *slice = &cluster.ends[s].shard.slices[0];
        cr_assert_eq(next_of(s), s == 0);
        cr_assert_not_null(slice_theta(slice, 0), "who goes back can be answered");
        cr_assert_eq(steps_accepted(&slice->window, 0, accepted[s]), 1);
    }
    cr_assert_eq(accepted[0][0] & accepted[1][0], 7, "slot 3 is what is lacking");
    for (uint32_t s = 0; s < SHARDS; s++) {
        push(s, 0, 3);
        cr_assert_eq(next_of(s), 1);
        cr_assert_eq(cluster.ends[s].counters.duplicates, s == 0);
        cr_assert_eq(cluster.ends[s].counters.commits, s == 0 ? SLOTS : SLOTS + 1);
    }
    tear_down();
}

/* Rule 2: the block takes the place of what it covers, or is dropped where it comes too late. */
Test(scenarios, a_speculated_slot_that_lands_before_its_block)
{
    float want[ELEMS];
    quiet_theta(want);
    set_up();
    for (uint32_t s = 0; s < SHARDS; s++) {
        push(s, 0, 2);         /* the helper's copy */
        push_node(s, 0, 1, 1); /* slots 2 and 3 of the owner */
        cr_assert_eq(next_of(s), 0, "slots 0 and 1 are owed");
        push_node(s, 0, 1, 0);
        push(s, 0, 1);
    }
    assert_quiet_bits(want);
    tear_down();
}

Test(scenarios, a_speculated_slot_that_lands_after_its_block)
{
    float want[ELEMS];
    quiet_theta(want);
    set_up();
    for (uint32_t s = 0; s < SHARDS; s++) {
        push_node(s, 0, 1, 1);
        push(s, 0, 3);
        cr_assert_eq(cluster.ends[s].counters.duplicates, 1);
        push_node(s, 0, 1, 0);
        push(s, 0, 2); /* of a step that is complete */
        cr_assert_eq(cluster.ends[s].counters.duplicates, 2);
    }
    assert_quiet_bits(want);
    tear_down();
}

/* ---- slots that are dropped ---- */

static void set_up_dropping(void)
{
    set_up();
    cluster_stop(&cluster);
    job.droppable = true;
    job.slowest = 1;
    cluster_start(&cluster, &job, SHARDS, 1 << 20);
}

/* Without slot 3, step 0 is the mean over three slots on both shards. */
static void assert_mean_of_three(void)
{
    float got[ELEMS];
    cluster_theta(&cluster, 1, got);
    for (uint32_t i = 0; i < ELEMS; i++) {
        float sum = (gradient(0, i) + gradient(1, i)) + gradient(2, i);
        cr_assert_float_eq(got[i], -0.1f * sum / 3, 1e-6, "element %u: %g", i, (double)got[i]);
    }
}

/* Rule 3: one shard has all of the step and another has not when the head drops a slot. Neither has committed, since
 * the head has not said so: the slot is left out on both. */
Test(scenarios, a_drop_decided_while_a_shard_has_passed)
{
    static const uint8_t LIVE[SLOTS] = {1, 1, 1, 0};
    uint32_t owed[SLOTS];
    uint64_t step;
    set_up_dropping();
    for (uint32_t slot = 0; slot < 3; slot++)
        for (uint32_t s = 0; s < SHARDS; s++) {
            cr_assert_eq(cluster.ends[s].few, 0);
            push(s, 0, slot);
        }
    push(0, 0, 3);
    cr_assert_eq(cluster.ends[0].ready, 1, "this one has all of it");
    cr_assert_eq(cluster.ends[1].ready, 0);
    for (uint32_t s = 0; s < SHARDS; s++) {
        cr_assert_eq(cluster.ends[s].few, 1);
        cr_assert_eq(next_of(s), 0, "no shard commits what the head has not let go");
    }
    cr_assert_eq(shard_owed(&cluster.ends[0].shard, &step, owed), 0);
    cr_assert_eq(shard_owed(&cluster.ends[1].shard, &step, owed), 1);
    cr_assert_eq(owed[0], 3);
    push(1, 0, 3); /* comes after the shard was asked */
    for (uint32_t s = 0; s < SHARDS; s++) {
        shard_drop(&cluster.ends[s].shard, 0, LIVE, 1);
        cr_assert_eq(next_of(s), 1);
        cr_assert_eq(cluster.ends[s].counters.duplicates, 0);
        push(s, 0, 3); /* late */
        cr_assert_eq(cluster.ends[s].counters.duplicates, 1);
    }
    assert_mean_of_three();
    for (uint32_t slot = 0; slot < SLOTS; slot++) /* the next step has all of its slots again */
        for (uint32_t s = 0; s < SHARDS; s++)
            push(s, 1, slot);
    for (uint32_t s = 0; s < SHARDS; s++) {
        cr_assert_eq(cluster.ends[s].ready, 2);
        shard_go(&cluster.ends[s].shard, 2);
        cr_assert_eq(next_of(s), 2);
        cr_assert_eq(cluster.ends[s].shard.counters->staleness.buckets[0], 7);
    }
    tear_down();
}
