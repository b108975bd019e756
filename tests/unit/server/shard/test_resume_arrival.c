/* A job whose gradients commit on arrival goes on from a checkpoint with each slot of a step once: those that the
 * checkpoint has are not owed any more, on the slices that have them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/shard/cut.h"
#include "server/store/source.h"
#include "tests/unit/support/checkpoints.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/reference.h"

#define ROLL_SEED 88172645463325252u
#include "tests/unit/support/roll.h"

enum { ELEMS = 160, SLOTS = 4, BATCH = 8, STEPS = 12, STALENESS = 2, CUT = 4, SLICES_MAX = 16 };

/* Slots in the order in which they come to a slice. */
struct order {
    uint32_t count;
    struct {
        uint64_t step;
        uint32_t slot;
    } list[STEPS * SLOTS];
    bool came[STEPS][SLOTS];
};

static struct folder folder;
static struct cluster cluster;
static struct order orders[CLUSTER_SHARDS_MAX][SLICES_MAX];

static void set_up(void)
{
    memset(orders, 0, sizeof orders);
    checkpoints_open(&folder);
}

static void tear_down(void)
{
    checkpoints_close(&folder);
    ASSERT_NO_LEAKS();
}

TestSuite(resume_arrival, .init = set_up, .fini = tear_down);

static struct shard_job job_of(const struct update_rule *rule, uint32_t staleness)
{
    const uint64_t elems = ELEMS;
    dp_error err;
    struct shard_job job = {
        .plan = {.seed = 3, .train_rows = BATCH * STEPS, .batch = BATCH, .train_steps = STEPS, .slots = SLOTS},
        .rule = rule,
        .params = reference_params(rule, 0.05)};
    cr_assert(consistency_set(&job.consistency, 0, staleness));
    cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_NORMAL, 0.5F, true, &err), DP_OK);
    return job;
}

static struct shard *shard_at(uint32_t s)
{
    return &cluster.ends[s].shard;
}

static void push(struct shard *shard, uint32_t k, uint64_t step, uint32_t slot)
{
    const struct slice *slice = &shard->slices[k];
    float *g = mem_array(slice->range.count, sizeof *g);
    cr_assert_not_null(g);
    for (uint64_t i = 0; i < slice->range.count; i++)
        g[i] = 4 * sinf((float)((slice->range.first + i) * 7 + slot * 131 + step * 17));
    struct blob blob = {g, slice->range.count * sizeof *g, g, free};
    struct push_pull msg = {
        .piece = k, .push = true, .step = step, .node = slice->window.leaves + slot, .metrics = {BATCH / SLOTS, 1, 1}};
    shard_push_pull(shard, &msg, &blob);
    shard_global_low(shard, shard->low);
}

/* A slot that a slice lacks of a step that is open there. */
static void push_some(uint32_t s, uint32_t k)
{
    const struct steps *window = &shard_at(s)->slices[k].window;
    struct order *order = &orders[s][k];
    if (window->opened == window->next)
        return;
    const uint64_t step = window->next + roll((uint32_t)(window->opened - window->next));
    const uint32_t slot = roll(SLOTS);
    if (order->came[step][slot])
        return;
    order->came[step][slot] = true;
    order->list[order->count].step = step;
    order->list[order->count++].slot = slot;
    push(shard_at(s), k, step, slot);
}

static bool all_are_ready(void)
{
    bool ready = true;
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        ready &= cut_is_ready(shard_at(s));
    return ready;
}

static bool all_are_over(void)
{
    bool over = true;
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        over &= shard_at(s)->low == STEPS;
    return over;
}

static void push_until(bool (*done)(void))
{
    while (!done()) {
        const uint32_t s = roll(cluster.shard_count);
        push_some(s, roll(shard_at(s)->slice_count));
    }
}

/* The same slots to each slice, in its order, but for those of steps before the cut. */
static void push_again(void)
{
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        for (uint32_t k = 0; k < shard_at(s)->slice_count; k++)
            for (uint32_t i = 0; i < orders[s][k].count; i++)
                if (orders[s][k].list[i].step >= shard_at(s)->slices[k].window.next)
                    push(shard_at(s), k, orders[s][k].list[i].step, orders[s][k].list[i].slot);
}

static void arm(void)
{
    dp_error err;
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        cr_assert_eq(cut_arm(shard_at(s), CUT, CUT, &err), DP_OK, "%s", err.text);
}

static void write_cut(void)
{
    struct shard *shards[CLUSTER_SHARDS_MAX];
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        shards[s] = shard_at(s);
    checkpoints_write(&folder, shards, cluster.shard_count);
}

static struct values_source *source(void)
{
    struct values_source *from;
    dp_error err;
    cr_assert_eq(source_open(&folder, CUT, &from, &err), DP_OK, "%s", err.text);
    return from;
}

static void check_samples(void)
{
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        for (uint32_t k = 0; k < shard_at(s)->slice_count; k++)
            for (uint64_t step = CUT; step < STEPS; step++) {
                const struct metrics *m = &shard_at(s)->slices[k].arrived[step % SLICE_VERSIONS];
                cr_assert(m->count == BATCH && m->correct == SLOTS && m->loss == SLOTS, "step %d", (int)step);
            }
}

static void check_rule(const struct update_rule *rule)
{
    struct shard_job job = job_of(rule, STALENESS);
    float want[ELEMS], got[ELEMS];
    memset(orders, 0, sizeof orders);
    cluster_start(&cluster, &job, 2, 32);
    arm();
    push_until(all_are_ready);
    write_cut();
    push_until(all_are_over);
    cluster_theta(&cluster, STEPS, want);
    cluster_stop(&cluster);

    job.from = source();
    job.first_step = CUT;
    cluster_start(&cluster, &job, 2, 32);
    source_close(&job.from);
    push_again();
    cr_assert(all_are_over());
    check_samples();
    cluster_theta(&cluster, STEPS, got);
    cr_assert_arr_eq(got, want, sizeof got, "rule %s", rule->name);
    cluster_stop(&cluster);
}

/* Parts of a step are sums of powers of 1/2 here, so that it does not matter in which order they are added. */
Test(resume_arrival, each_slot_commits_once, .timeout = 300)
{
    for (int r = 0; r < UPDATE_RULES; r++) {
        const struct shard_job job = job_of(update_rule_at(r), STALENESS);
        for (int i = 0; commit_may_arrive(&job) && i < 20; i++)
            check_rule(job.rule);
    }
}

/* ---- other layouts ---- */

static void ignore_refusal(void *arg, const struct refusal *refusal)
{
    (void)arg;
    cr_assert_fail("%s", refusal->text);
}

static void ignore_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    (void)arg, (void)session, (void)step, (void)node;
}

static void ignore_event(void *arg, const struct event *event)
{
    (void)arg;
    cr_assert_neq(event->kind, EVENT_FAILED);
    if (event->kind == EVENT_SUMS)
        free(event->sums.sums);
}

static const struct shard_calls CALLS = {.refuse = ignore_refusal, .arrived = ignore_arrived, .emit = ignore_event};

/* Halves of each slice of before, on one shard, get what it would have got. */
Test(resume_arrival, smaller_slices_go_on_with_the_same_bits)
{
    static struct shard_counters counters;
    struct shard_job job = job_of(&rule_momentum, STALENESS);
    struct range ranges[2 * SLICES_MAX];
    const struct order *order_of[2 * SLICES_MAX];
    uint32_t count = 0;
    float want[ELEMS];
    struct shard shard;
    dp_error err;
    cluster_start(&cluster, &job, 2, 32);
    arm();
    push_until(all_are_ready);
    write_cut();
    push_until(all_are_over);
    cluster_theta(&cluster, STEPS, want);
    for (uint32_t s = 0; s < 2; s++)
        for (uint32_t k = 0; k < shard_at(s)->slice_count; k++) {
            const struct range all = shard_at(s)->slices[k].range;
            ranges[count] = (struct range){all.first, all.count / 2};
            ranges[count + 1] = (struct range){all.first + all.count / 2, all.count - all.count / 2};
            order_of[count] = order_of[count + 1] = &orders[s][k];
            count += 2;
        }
    cluster_stop(&cluster);
    shard_init(&shard, 0, &counters, &CALLS);
    job.from = source();
    job.first_step = CUT;
    cr_assert_eq(shard_start(&shard, &job, 0, ranges, count, &err), DP_OK, "%s", err.text);
    source_close(&job.from);
    for (uint32_t k = 0; k < count; k++)
        for (uint32_t i = 0; i < order_of[k]->count; i++)
            if (order_of[k]->list[i].step >= shard.slices[k].window.next)
                push(&shard, k, order_of[k]->list[i].step, order_of[k]->list[i].slot);
    cr_assert_eq(shard.low, STEPS);
    for (uint32_t k = 0; k < count; k++)
        cr_assert_arr_eq(slice_theta(&shard.slices[k], STEPS)->theta, want + ranges[k].first,
                         ranges[k].count * sizeof *want, "slice %u", k);
    shard_fini(&shard);
}

static dp_err start_whole(struct shard_job *job, struct shard *shard, dp_error *err)
{
    static struct shard_counters counters;
    const struct range all = {0, ELEMS};
    shard_init(shard, 0, &counters, &(struct shard_calls){0});
    job->from = source();
    job->first_step = CUT;
    dp_err e = shard_start(shard, job, 0, &all, 1, err);
    source_close(&job->from);
    return e;
}

static void push_everywhere(uint64_t step, uint32_t slot)
{
    for (uint32_t s = 0; s < cluster.shard_count; s++)
        for (uint32_t k = 0; k < shard_at(s)->slice_count; k++)
            push(shard_at(s), k, step, slot);
}

/* Steps up to the cut, and some slots of the steps that are open then. */
static void push_to_cut(void)
{
    push_everywhere(0, 0);
    arm();
    for (uint64_t step = 0; step < CUT; step++) {
        if (step + 1 == CUT) {
            push_everywhere(CUT, 1);
            push_everywhere(CUT + 1, 3);
        }
        for (uint32_t slot = step == 0; slot < SLOTS; slot++)
            push_everywhere(step, slot);
    }
}

Test(resume_arrival, slices_that_have_the_same_slots_may_become_one)
{
    struct shard_job job = job_of(&rule_momentum, STALENESS);
    struct shard shard;
    uint32_t owed[SLOTS];
    dp_error err;
    cluster_start(&cluster, &job, 2, 32);
    push_to_cut();
    write_cut();
    cluster_stop(&cluster);
    cr_assert_eq(start_whole(&job, &shard, &err), DP_OK, "%s", err.text);
    const struct steps *window = &shard.slices[0].window;
    cr_assert_eq(steps_owed(window, CUT, owed), SLOTS - 1);
    cr_assert(owed[0] == 0 && owed[1] == 2 && owed[2] == 3);
    cr_assert_eq(steps_owed(window, CUT + 1, owed), SLOTS - 1);
    cr_assert_eq(owed[2], 2);
    cr_assert_eq(steps_missing(window, CUT + 2), SLOTS);
    cr_assert_eq(shard.slices[0].passed, CUT + 0.5);
    shard_fini(&shard);
}

/* One slice has a slot more: those of the others would be lost with it, or be twice in its. */
Test(resume_arrival, slices_that_have_other_slots_may_not)
{
    struct shard_job job = job_of(&rule_momentum, STALENESS);
    struct shard shard;
    dp_error err;
    cluster_start(&cluster, &job, 2, 32);
    arm();
    for (uint64_t step = 0; step < CUT - 1; step++)
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            push_everywhere(step, slot);
    push(shard_at(1), 1, CUT, 2);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        push_everywhere(CUT - 1, slot);
    write_cut();
    cluster_stop(&cluster);
    cr_assert_eq(start_whole(&job, &shard, &err), DP_REFUSED);
    cr_assert_not_null(strstr(err.text, "--shards"), "%s", err.text);
    shard_fini(&shard);
}

/* ---- steps that are complete at the cut ---- */

/* Nobody pushes anything for such a step: the shard passes it by itself. */
Test(resume_arrival, steps_that_have_all_slots_are_passed)
{
    struct shard_job job = job_of(&rule_momentum, STALENESS);
    cluster_start(&cluster, &job, 2, 32);
    arm();
    for (uint64_t step = 0; step < CUT - 1; step++)
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            push_everywhere(step, slot);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        push_everywhere(CUT, slot);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        push_everywhere(CUT - 1, slot);
    write_cut();
    cluster_stop(&cluster);
    job.from = source();
    job.first_step = CUT;
    cluster_start(&cluster, &job, 2, 32);
    source_close(&job.from);
    for (uint32_t s = 0; s < 2; s++) {
        cr_assert_eq(shard_at(s)->low, CUT);
        shard_global_low(shard_at(s), CUT);
        cr_assert_eq(shard_at(s)->low, CUT + 1);
        cr_assert_eq(cluster.ends[s].completed, CUT + 1);
    }
    cluster_stop(&cluster);
}

/* ---- modes that change later ---- */

/* The mode of the first step is narrower than one that was set for a later one. */
Test(resume_arrival, a_wider_mode_that_begins_later_has_room)
{
    struct shard_job job = job_of(&rule_momentum, 1);
    job.first_step = CUT;
    cr_assert(consistency_set(&job.consistency, CUT + 2, 5));
    cluster_start(&cluster, &job, 2, 32);
    for (uint64_t step = 0; step < CUT + 2; step++)
        for (uint32_t slot = 0; step >= CUT && slot < SLOTS; slot++)
            push_everywhere(step, slot);
    for (uint32_t s = 0; s < 2; s++)
        cr_assert_eq(shard_at(s)->slices[0].window.opened, CUT + 2 + 5 + 1);
    push_until(all_are_over);
    cluster_stop(&cluster);
}
