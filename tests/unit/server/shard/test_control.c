/* Step-stamped control: lr changes at one step on all shards, however far each has come. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"

#define ROLL_SEED 6364136223846793005u
#include "tests/unit/support/roll.h"

enum { ELEMS = 64 };

static struct cluster cluster;

static struct shard_job make_job(void)
{
    dp_error err;
    uint64_t elems = ELEMS;
    struct shard_job job = {
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
    struct shard_job job = make_job();
    cluster_start(&cluster, &job, 2, 1 << 20);
    for (uint64_t t = 0; t < 3; t++) /* shard 0 is three steps ahead */
        push(0, t);
    cr_assert_eq(shard_prepare(&cluster.ends[0].shard, 1, SETTING_LR), 3, "it has passed 1");
    cr_assert_eq(shard_prepare(&cluster.ends[1].shard, 1, SETTING_LR), 1);
    push(0, 3);
    push(1, 0);
    push(1, 1);
    cr_assert_eq(next_of(0), 3, "it waits although the step is complete");
    cr_assert_eq(next_of(1), 1, "likewise");
    cr_assert_eq(shard_prepare(&cluster.ends[0].shard, 3, SETTING_LR), 3);
    cr_assert_eq(shard_prepare(&cluster.ends[1].shard, 3, SETTING_LR), 3, "the second round agrees");
    shard_set(&cluster.ends[0].shard, 3, &(struct setting){.lr = 10});
    cr_assert_eq(next_of(0), 4, "and what had waited goes on");
    for (uint64_t t = 1; t < 4; t++)
        push(1, t);
    cr_assert_eq(next_of(1), 3, "the other has not been told yet");
    shard_set(&cluster.ends[1].shard, 3, &(struct setting){.lr = 10});
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
    struct shard_job job = make_job();
    cluster_start(&cluster, &job, 1, 1 << 20);
    shard_set(&cluster.ends[0].shard, 20, &(struct setting){.lr = 5});
    cr_assert_eq(cluster.ends[0].shard.own.params.schedule.change_count, 0);
    cluster_stop(&cluster);
}

/* ---- consistency ---- */

static void set_mode(struct cluster *c, uint64_t step, uint32_t staleness)
{
    for (uint32_t s = 0; s < c->shard_count; s++)
        shard_set(&c->ends[s].shard, step, &(struct setting){.kind = SETTING_CONSISTENCY, .staleness = staleness});
}

static uint64_t opened_of(uint32_t s)
{
    return cluster.ends[s].shard.slices[0].window.opened;
}

/* Workers are told with theta how to push: a step that is open on any shard keeps its mode. */
Test(control, consistency_changes_at_a_step_that_is_open_nowhere)
{
    struct shard_job job = make_job();
    cluster_start(&cluster, &job, 2, 1 << 20);
    for (uint64_t t = 0; t < 3; t++)
        push(0, t);
    cr_assert_eq(shard_prepare(&cluster.ends[0].shard, 0, SETTING_CONSISTENCY), 4, "3 is open");
    cr_assert_eq(shard_prepare(&cluster.ends[1].shard, 0, SETTING_CONSISTENCY), 1);
    push(0, 3);
    push(1, 0);
    cr_assert_eq(next_of(0), 4, "what is open may be committed");
    cr_assert_eq(opened_of(0), 4, "but nothing is opened");
    cr_assert_eq(opened_of(1), 1, "likewise");
    for (uint32_t s = 0; s < 2; s++)
        cr_assert_eq(shard_prepare(&cluster.ends[s].shard, 4, SETTING_CONSISTENCY), 4, "the second round agrees");
    cr_assert_eq(opened_of(1), 2, "the other may go on as far as that");
    set_mode(&cluster, 4, 2);
    cr_assert_eq(opened_of(0), 7, "steps 4 to 6 are open side by side");
    for (uint64_t t = 1; t < 4; t++)
        push(1, t);
    cr_assert_eq(opened_of(1), 7);
    push(0, 6);
    cr_assert_eq(theta_of(0, 4), -5.0F, "on arrival");
    cr_assert_eq(next_of(0), 4);
    for (uint32_t s = 0; s < 2; s++)
        cr_assert_eq(shard_prepare(&cluster.ends[s].shard, 0, SETTING_CONSISTENCY), 7);
    set_mode(&cluster, 7, 0);
    for (uint32_t s = 0; s < 2; s++)
        for (uint64_t t = 4; t < 20; t++)
            push(s, t);
    for (uint32_t s = 0; s < 2; s++) {
        cr_assert_eq(cluster.ends[s].completed, 20);
        cr_assert_eq(theta_of(s, 20), -20.0F);
    }
    cluster_stop(&cluster);
    ASSERT_NO_LEAKS();
}

enum { RANDOM_SLOTS = 4, RANDOM_STEPS = 40, RANDOM_SHARDS = 3, RANDOM_JOBS = 300 };

/* A slot of some step that is open on a shard, perhaps once more; each moves theta by a quarter, once. */
static void push_some(uint32_t s)
{
    struct shard *shard = &cluster.ends[s].shard;
    struct slice *slice = &shard->slices[0];
    uint64_t first = slice->window.next, count = slice->range.count;
    if (slice->window.opened == first)
        return; /* nothing is open at a barrier */
    float *g = mem_array(count, sizeof *g);
    for (uint64_t i = 0; i < count; i++)
        g[i] = 1;
    struct blob blob = {g, count * sizeof *g, g, free};
    struct push_pull msg = {.push = true,
                            .step = first + roll((uint32_t)(slice->window.opened - first)),
                            .node = slice->window.leaves + roll(RANDOM_SLOTS),
                            .metrics = {.count = 1}};
    shard_push_pull(shard, &msg, &blob);
}

static uint64_t low_of_all(void)
{
    uint64_t low = RANDOM_STEPS;
    for (uint32_t s = 0; s < RANDOM_SHARDS; s++)
        low = MIN(low, next_of(s));
    return low;
}

/* The head's part, with pushes between any two messages. */
static void switch_at_random(void)
{
    uint64_t step = low_of_all();
    uint32_t staleness = roll(4);
    for (uint64_t latest = step, first = 1; first || latest != step; first = 0) {
        step = latest;
        for (uint32_t s = 0; s < RANDOM_SHARDS; s++) {
            latest = MAX(latest, shard_prepare(&cluster.ends[s].shard, step, SETTING_CONSISTENCY));
            push_some(roll(RANDOM_SHARDS));
        }
    }
    for (uint32_t s = 0; s < RANDOM_SHARDS; s++) {
        cr_assert_leq(opened_of(s), step);
        shard_set(&cluster.ends[s].shard, step, &(struct setting){.kind = SETTING_CONSISTENCY, .staleness = staleness});
        push_some(roll(RANDOM_SHARDS));
    }
}

/* No step's mode differs between shards, or from what was told when it opened. */
static void check_modes(uint32_t mode[RANDOM_STEPS])
{
    for (uint32_t s = 0; s < RANDOM_SHARDS; s++)
        for (uint64_t t = next_of(s); t < opened_of(s); t++) {
            uint32_t now = 1 + slice_staleness(&cluster.ends[s].shard.slices[0], t);
            cr_assert(mode[t] == 0 || mode[t] == now, "step %u", (unsigned)t);
            mode[t] = now;
        }
}

Test(control, every_slot_is_committed_once_however_often_consistency_changes)
{
    uint32_t switches = 0;
    for (int run = 0; run < RANDOM_JOBS; run++) {
        struct shard_job job = make_job();
        uint32_t mode[RANDOM_STEPS] = {0};
        job.plan.slots = RANDOM_SLOTS;
        job.plan.train_steps = RANDOM_STEPS;
        cr_assert(consistency_set(&job.consistency, 0, roll(3)));
        cluster_start(&cluster, &job, RANDOM_SHARDS, 1 << 20);
        while (low_of_all() < RANDOM_STEPS) {
            push_some(roll(RANDOM_SHARDS));
            check_modes(mode);
            if (roll(60) == 0 && cluster.ends[0].shard.own.consistency.change_count < CONSISTENCY_CHANGES_MAX) {
                switch_at_random();
                switches++;
            }
            for (uint32_t s = 0; roll(4) == 0 && s < RANDOM_SHARDS; s++)
                shard_global_low(&cluster.ends[s].shard, low_of_all());
        }
        for (uint32_t s = 0; s < RANDOM_SHARDS; s++)
            cr_assert_eq(theta_of(s, RANDOM_STEPS), -(float)RANDOM_STEPS);
        cluster_stop(&cluster);
    }
    cr_assert_gt(switches, RANDOM_JOBS);
    ASSERT_NO_LEAKS();
}

Test(control, a_server_may_end_amid_a_commit_that_needs_all_shards)
{
    struct shard_job job = make_job();
    job.params.clip_norm = 1;
    cluster_start(&cluster, &job, 2, 1 << 20);
    push(0, 0);
    cr_assert_not_null(cluster.ends[0].shard.phases.pending[0], "it waits for the other's sums");
    cluster_stop(&cluster);
    ASSERT_NO_LEAKS();
}

/* As many changes as are asked for: those that no step in use depends on are forgotten. */
Test(control, forgets_consistency_of_steps_that_are_over)
{
    struct consistency c = {0};
    cr_assert(consistency_set(&c, 0, 2));
    for (uint64_t i = 1; i <= 10 * CONSISTENCY_CHANGES_MAX; i++) {
        const uint64_t oldest = 3 * i - 2;
        consistency_forget(&c, oldest);
        cr_assert(consistency_set(&c, 3 * i, (uint32_t)(i % 5)));
        cr_assert_leq(c.change_count, 2);
        for (uint64_t step = oldest; step < 3 * i; step++)
            cr_assert_eq(consistency_at(&c, step), i == 1 ? 2 : (i - 1) % 5);
        cr_assert_eq(consistency_at(&c, 3 * i), i % 5);
    }
    struct consistency full = {0};
    for (uint64_t i = 0; i < CONSISTENCY_CHANGES_MAX; i++)
        cr_assert(consistency_set(&full, i, 1));
    cr_assert_not(consistency_set(&full, 1000, 1), "all of them are of steps in use");
}
