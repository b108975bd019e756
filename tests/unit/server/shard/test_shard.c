/* A shard's core: pulls wait for their step, duplicates do no harm, old versions answer late comers, and steps are told
 * in order. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "server/shard/ask.h"
#include "server/shard/shard.h"
#include "tests/unit/support/hear.h"
#include "tests/unit/support/leaks.h"

enum { ELEMS = 64, SLICES = 2, SLOTS = 4, STEPS = 3 };

/* The shard's calls, in order. */
struct heard {
    size_t params, refusals, completed, failures;
    bool may_fail;
    struct params last_params;
    float theta0; /* of the last params with a payload */
    dp_err last_refusal;
    uint64_t refused_step;
    uint64_t last_completed;
    struct metrics metrics;
};

static void hear_params(void *arg, const struct params *p)
{
    struct heard *h = arg;
    h->params++;
    h->last_params = *p;
    if (p->version)
        h->theta0 = p->version->theta[0];
}

static void hear_refusal(void *arg, const struct refusal *refusal)
{
    struct heard *h = arg;
    h->refusals++;
    h->last_refusal = refusal->code;
    h->refused_step = refusal->step;
}

static void hear_completed(void *arg, uint64_t step, const struct metrics *m)
{
    struct heard *h = arg;
    cr_assert_eq(step, h->completed, "each step once, in order");
    h->completed++;
    h->last_completed = step;
    h->metrics = *m;
}

static void hear_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    (void)arg, (void)session, (void)step, (void)node;
    cr_assert_fail("the job's first slice is another shard's");
}

static void hear_failed(void *arg, const dp_error *err)
{
    struct heard *h = arg;
    cr_assert(h->may_fail, "%s", err->text);
    h->failures++;
}

struct fixture {
    struct shard_job job;
    struct shard shard;
    struct shard_counters counters;
    struct heard heard;
};

static void hear(void *arg, const struct event *event)
{
    hear_event(&(struct hearing){.completed = hear_completed, .failed = hear_failed}, arg, event);
}

static void set_up_at(struct fixture *f, uint64_t eval_rows, uint32_t staleness, uint64_t first)
{
    dp_error err;
    uint64_t shape = ELEMS;
    struct shard_calls calls = {
        .params = hear_params, .refuse = hear_refusal, .arrived = hear_arrived, .emit = hear, .arg = &f->heard};
    struct range slices[SLICES] = {{0, 32}, {32, 32}};
    *f = (struct fixture){
        .job = {
            .plan =
                {.seed = 1, .train_rows = 8, .eval_rows = eval_rows, .batch = 8, .train_steps = STEPS, .slots = SLOTS},
            .first_step = first,
            .rule = update_rule_at(0),
            .params = {.schedule.lr = 1.0}}};
    cr_assert(consistency_set(&f->job.consistency, 0, staleness));
    cr_assert_eq(tensors_add(&f->job.tensors, "weight", 1, &shape, INIT_ZEROS, 0, true, &err), DP_OK);
    shard_init(&f->shard, 0, &f->counters, &calls);
    cr_assert_eq(shard_start(&f->shard, &f->job, 5, slices, SLICES, &err), DP_OK);
}

static void set_up_ssp(struct fixture *f, uint64_t eval_rows, uint32_t staleness)
{
    set_up_at(f, eval_rows, staleness, 0);
}

static void set_up(struct fixture *f, uint64_t eval_rows)
{
    set_up_ssp(f, eval_rows, 0);
}

static struct blob ones(void)
{
    float *g = mem_array(32, sizeof *g);
    for (int i = 0; i < 32; i++)
        g[i] = 1.0f;
    return (struct blob){g, 32 * sizeof *g, g, free};
}

static void push(struct fixture *f, uint32_t slice, uint64_t step, uint32_t slot, bool payload)
{
    struct blob g = payload ? ones() : (struct blob){0};
    struct push_pull msg = {
        .session = 1, .piece = slice, .push = true, .step = step, .node = SLOTS + slot, .metrics = {2, 0.5, 1}};
    shard_push_pull(&f->shard, &msg, &g);
}

static void push_all(struct fixture *f, uint32_t slice, uint64_t step)
{
    for (uint32_t k = 0; k < SLOTS; k++)
        push(f, slice, step, k, true);
}

static void pull(struct fixture *f, uint32_t session, uint32_t slice, uint64_t step, uint64_t have)
{
    struct blob none = {0};
    struct push_pull msg = {
        .session = session, .request = 9, .piece = slice, .pull = true, .pull_step = step, .have = have};
    shard_push_pull(&f->shard, &msg, &none);
}

Test(shard, a_pull_waits_for_its_step)
{
    struct fixture f;
    set_up(&f, 0);
    pull(&f, 1, 0, 0, 0);
    cr_assert_eq(f.heard.params, 1);
    cr_assert_eq(f.heard.theta0, 0.0f);
    pull(&f, 1, 0, 1, 0);
    pull(&f, 2, 0, 1, 0);
    pull(&f, 1, 0, 1, 0);
    cr_assert_eq(f.heard.params, 1, "parked");
    push_all(&f, 0, 0);
    cr_assert_eq(f.heard.params, 3, "one answer per session, although one asked twice");
    cr_assert_eq(f.heard.theta0, -0.5f, "lr * (4 slots of gradient 1) / 8 rows");
    cr_assert_eq(f.heard.last_params.slice, 5, "slice ids are the job's");
    cr_assert_eq(f.heard.completed, 0, "the other slice is not complete");
    push_all(&f, 1, 0);
    cr_assert_eq(f.heard.completed, 1);
    cr_assert_eq(f.heard.metrics.count, 8);
    cr_assert_eq(f.heard.metrics.loss, 2.0);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

Test(shard, duplicates_and_late_pushes_change_nothing)
{
    struct fixture f;
    set_up(&f, 0);
    push(&f, 0, 0, 2, true);
    push(&f, 0, 0, 2, true);
    push_all(&f, 0, 0);
    push_all(&f, 0, 0);
    pull(&f, 1, 0, 1, 0);
    cr_assert_eq(f.heard.theta0, -0.5f);
    cr_assert_eq(f.heard.refusals, 0);
    cr_assert_eq(f.counters.duplicates, 6);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* The delay is what the push says that it was computed on, against what the slice has; one that does not say has none.
 */
Test(shard, the_delay_of_a_push_goes_into_its_rate)
{
    static const uint64_t READ[] = {1, 1, 0, 2}; /* 1 + version; the slice has 0, 1, 2, 3 */
    static const double DELAY[] = {0, 1.0 / SLOTS, 0, 2.0 / SLOTS};
    struct fixture f;
    double theta = 0;
    set_up_ssp(&f, 0, 2);
    f.shard.own.params.schedule.kind = SCHEDULE_ADA_DELAY;
    f.shard.own.params.schedule.decay = 1;
    for (uint32_t k = 0; k < SLOTS; k++) {
        struct blob g = ones();
        struct push_pull msg = {.session = 1, .push = true, .node = SLOTS + k, .read = READ[k], .metrics = {2, 0.5, 1}};
        shard_push_pull(&f.shard, &msg, &g);
        pull(&f, 1, 0, 1, 0);
        theta -= 0.125 / (1 + sqrt(DELAY[k])); /* a quarter of a step along the mean 1/2 */
        cr_assert_float_eq((double)f.heard.theta0, theta, 1e-6, "push %u: %g", k, (double)f.heard.theta0);
    }
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* Rule 1: theta_t is there until all shards have completed t, so that a lost slot can be computed again; then
 * STEP_DONE. */
static struct shard_held asked(struct fixture *f, uint32_t session, uint32_t piece, uint64_t step)
{
    const struct shard_question question = {.session = session, .piece = piece, .step = step, .pull_step = step + 1};
    struct shard_held held;
    cr_assert(shard_ask(&f->shard, &question, &held));
    return held;
}

/* Slices 5 and 6 of the job. */
Test(shard, tells_what_it_has_of_a_step)
{
    struct fixture f;
    set_up(&f, 0);
    cr_assert_eq(asked(&f, 1, 5, 0).accepted_bytes, 0);
    push(&f, 0, 0, 0, true);
    push(&f, 0, 0, 2, true);
    pull(&f, 1, 0, 1, 0);
    struct shard_held held = asked(&f, 1, 5, 0);
    cr_assert_eq(held.accepted_bytes, 1);
    cr_assert_eq(held.accepted[0], 0x5);
    cr_assert(held.waits);
    cr_assert_not(asked(&f, 2, 5, 0).waits, "another session's pull");
    cr_assert_not(asked(&f, 1, 5, 1).waits, "a pull of another step");
    cr_assert_eq(asked(&f, 1, 6, 0).accepted_bytes, 0, "the other slice");
    push(&f, 0, 0, 1, true);
    push(&f, 0, 0, 3, true);
    held = asked(&f, 1, 5, 0);
    cr_assert_eq(held.accepted[0], 0xf, "a step that is complete has all");
    cr_assert_not(held.waits, "it was answered");
    const struct shard_question beyond[] = {{1, 4, 0, 1}, {1, 7, 0, 1}};
    cr_assert_not(shard_ask(&f.shard, &beyond[0], &held));
    cr_assert_not(shard_ask(&f.shard, &beyond[1], &held));
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

Test(shard, old_versions_answer_late_comers)
{
    struct fixture f;
    set_up(&f, 0);
    push_all(&f, 0, 0);
    push_all(&f, 1, 0);
    pull(&f, 1, 0, 0, 0);
    cr_assert_eq(f.heard.params, 1);
    cr_assert_eq(f.heard.theta0, 0.0f, "theta_0 although step 0 is complete here");
    shard_global_low(&f.shard, 1);
    pull(&f, 1, 0, 0, 0);
    cr_assert_eq(f.heard.last_refusal, DP_STEP_DONE);
    cr_assert_eq(f.heard.refused_step, 1);
    shard_fini(&f.shard);
}

/* The steps before a job's first one are over: a worker that asks for step 0 is told where to go on. */
Test(shard, a_job_may_begin_at_a_later_step)
{
    struct fixture f;
    uint32_t owed[SLOTS];
    uint64_t step;
    set_up_at(&f, 0, 0, 1);
    f.heard.completed = 1;
    cr_assert_eq(f.counters.low, 1);
    pull(&f, 1, 0, 0, 0);
    cr_assert_eq(f.heard.last_refusal, DP_STEP_DONE);
    cr_assert_eq(f.heard.refused_step, 1);
    push(&f, 0, 0, 0, true);
    cr_assert_eq(f.counters.duplicates, 1);
    pull(&f, 1, 0, 1, 0);
    cr_assert_eq(f.heard.params, 1);
    cr_assert_eq(f.heard.last_params.number, 1, "after one training step");
    cr_assert_eq(shard_owed(&f.shard, &step, owed), SLOTS);
    cr_assert_eq(step, 1);
    cr_assert_eq(shard_prepare(&f.shard, 0, SETTING_LR), 1);
    shard_set(&f.shard, 1, &(struct setting){.kind = SETTING_LR, .lr = 2});
    for (uint64_t t = 1; t < STEPS; t++) {
        push_all(&f, 0, t);
        push_all(&f, 1, t);
        shard_global_low(&f.shard, t + 1);
    }
    cr_assert_eq(f.heard.completed, STEPS);
    cr_assert_eq(slice_theta(&f.shard.slices[0], STEPS)->theta[0], -2.0f);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* On arrival the slots of the first steps commit at once, and a step's fraction goes on from the steps before. */
Test(shard, a_job_on_arrival_may_begin_at_a_later_step)
{
    struct fixture f;
    set_up_at(&f, 0, 1, 1);
    f.heard.completed = 1;
    cr_assert_eq(f.shard.slices[0].passed, 1.0);
    pull(&f, 1, 0, 2, 0);
    cr_assert_eq(f.heard.last_params.staleness, 1);
    push(&f, 0, 2, 1, true);
    pull(&f, 1, 0, 2, 0);
    cr_assert_eq(f.heard.theta0, -0.125f);
    push(&f, 0, 0, 1, true);
    cr_assert_eq(f.counters.duplicates, 1);
    push_all(&f, 0, 1);
    push_all(&f, 1, 1);
    cr_assert_eq(f.heard.completed, 2);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

Test(shard, what_nobody_can_have_is_refused)
{
    struct fixture f;
    set_up(&f, 0);
    push(&f, 0, 1, 0, true);
    cr_assert_eq(f.heard.last_refusal, DP_RANGE, "theta_1 was never handed out");
    pull(&f, 1, 0, 2, 0);
    cr_assert_eq(f.heard.refusals, 2);
    push(&f, 0, 0, 0, false);
    cr_assert_eq(f.heard.last_refusal, DP_PROTO, "a gradient is missing");
    shard_fini(&f.shard);
}

Test(shard, evaluation_steps_keep_the_version)
{
    struct fixture f;
    set_up(&f, 6);
    push_all(&f, 0, 0);
    push_all(&f, 1, 0);
    push(&f, 0, 1, 0, true);
    cr_assert_eq(f.heard.last_refusal, DP_PROTO, "step 1 is an evaluation: no payload");
    for (uint32_t slice = 0; slice < SLICES; slice++)
        for (uint32_t k = 0; k < SLOTS; k++)
            push(&f, slice, 1, k, false);
    cr_assert_eq(f.heard.completed, 2);
    cr_assert_eq(f.heard.metrics.correct, 4);
    pull(&f, 1, 0, 2, 1 + 1);
    cr_assert_eq(f.heard.last_params.number, 1);
    cr_assert_null(f.heard.last_params.version, "the client has it");
    shard_fini(&f.shard);
}

Test(shard, the_end_is_told_and_the_gone_are_forgotten)
{
    struct fixture f;
    set_up(&f, 0);
    for (uint64_t step = 0; step < STEPS; step++) {
        pull(&f, 1, 0, step + 1, 0);
        pull(&f, 2, 0, step + 1, 0);
        shard_forget(&f.shard, 2);
        push_all(&f, 0, step);
        push_all(&f, 1, step);
        cr_assert_eq(f.heard.params, step + 1, "nothing for the session that is gone");
    }
    cr_assert(f.heard.last_params.last);
    cr_assert_null(f.heard.last_params.version);
    uint32_t owed[SLOTS];
    uint64_t step;
    cr_assert_eq(shard_owed(&f.shard, &step, owed), 0);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

Test(shard, owed_slots_are_those_missing_on_the_slowest_slice)
{
    struct fixture f;
    uint32_t owed[SLOTS];
    uint64_t step;
    set_up(&f, 0);
    push_all(&f, 0, 0);
    push(&f, 1, 0, 1, true);
    cr_assert_eq(shard_owed(&f.shard, &step, owed), 3);
    cr_assert_eq(step, 0);
    cr_assert_eq(owed[0], 0);
    cr_assert_eq(owed[1], 2);
    shard_fini(&f.shard);
}

Test(shard, counts_what_waited_and_what_was_committed)
{
    struct fixture f;
    set_up(&f, 0);
    pull(&f, 1, 0, 1, 0);
    push(&f, 0, 0, 0, true);
    cr_assert_eq(f.counters.commits, 0);
    cr_assert_eq(f.counters.queued_ns, 0, "nothing was taken up");
    cr_assert_eq(f.counters.parked_ns, 0, "nothing was answered");
    push_all(&f, 0, 0);
    push_all(&f, 1, 0);
    cr_assert_eq(f.counters.commits, 2, "of two slices");
    cr_assert_eq(f.counters.pulls, 1);
    cr_assert_gt(f.counters.queued_ns, 0);
    cr_assert_gt(f.counters.parked_ns, 0);
    cr_assert_gt(f.counters.commit_ns, 0);
    cr_assert_lt(f.counters.queued_ns, mono_ns(), "a sum of waits, not of moments");
    cr_assert_eq(f.shard.slices[0].arrivals, 0, "taken up");
    shard_fini(&f.shard);
}

/* The worker asks again, with the push that it may have lost as well: it counts once, and the answer comes again. */
Test(shard, a_lost_reply_is_given_again)
{
    struct fixture f;
    set_up(&f, 0);
    for (uint32_t k = 0; k + 1 < SLOTS; k++)
        push(&f, 0, 0, k, true);
    for (size_t times = 1; times <= 3; times++) {
        struct blob g = ones();
        struct push_pull msg = {.session = 1,
                                .request = 8 + times,
                                .push = true,
                                .node = 2 * SLOTS - 1,
                                .metrics = {2, 0.5, 1},
                                .pull = true,
                                .pull_step = 1};
        shard_push_pull(&f.shard, &msg, &g);
        cr_assert_eq(f.heard.params, times);
        cr_assert_eq(f.heard.last_params.step, 1);
        cr_assert_eq(atomic_load(&f.counters.duplicates), times - 1);
    }
    cr_assert_eq(f.heard.refusals, 0);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* Their pulls wait while one of them computes the slot of a worker that died: its push needs no pull to free all. */
Test(shard, all_survivors_parked_when_a_slot_must_be_recomputed)
{
    struct fixture f;
    uint64_t step;
    uint32_t owed[SLOTS];
    set_up(&f, 0);
    for (uint32_t k = 0; k + 1 < SLOTS; k++)
        for (uint32_t slice = 0; slice < SLICES; slice++)
            push(&f, slice, 0, k, true);
    for (uint32_t session = 1; session <= 3; session++)
        pull(&f, session, 0, 1, 0);
    cr_assert_eq(f.heard.params, 0, "parked");
    cr_assert_eq(shard_owed(&f.shard, &step, owed), 1);
    cr_assert_eq(owed[0], SLOTS - 1);
    push(&f, 0, step, owed[0], true);
    cr_assert_eq(f.heard.params, 3);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* A commit that failed may have been half done, and the head's room for news is bounded. */
Test(shard, a_failure_is_told_once_and_ends_all_commits)
{
    struct fixture f;
    set_up(&f, 0);
    f.heard.may_fail = true;
    f.shard.own.params.schedule.change_count = SCHEDULE_CHANGES_MAX; /* all of them of a step in use */
    for (uint32_t i = 0; i < SCHEDULE_CHANGES_MAX; i++)
        f.shard.own.params.schedule.changes[i].from = 1;
    push_all(&f, 0, 0);
    for (int i = 0; i < 3; i++)
        shard_set(&f.shard, 2, &(struct setting){.kind = SETTING_LR, .lr = 1});
    cr_assert_eq(f.heard.failures, 1);
    size_t params = f.heard.params;
    push_all(&f, 1, 0);
    cr_assert_eq(f.heard.refusals, SLOTS);
    cr_assert_eq(f.heard.last_refusal, DP_BUSY);
    cr_assert_eq(f.heard.completed, 0);
    cr_assert_eq(f.heard.params, params);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* One element in one slice, of a gradient whose loss is finite; also where slots commit on arrival. The step before is
 * as it was, those after it are no better. */
static void one_infinity(uint32_t staleness, uint32_t slice, float value)
{
    struct fixture f;
    set_up_ssp(&f, 0, staleness);
    for (uint32_t i = 0; i < SLICES; i++)
        push_all(&f, i, 0);
    cr_assert_eq(f.heard.completed, 1);
    cr_assert(isfinite(f.heard.metrics.loss));
    for (uint32_t i = 0; i < SLICES; i++)
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            struct blob g = ones();
            if (i == slice && slot == 2)
                g.data = memcpy(g.owner, &(float[32]){[17] = value}, g.bytes);
            struct push_pull msg = {
                .session = 1, .piece = i, .push = true, .step = 1, .node = SLOTS + slot, .metrics = {2, 0.5, 1}};
            shard_push_pull(&f.shard, &msg, &g);
        }
    cr_assert_eq(f.heard.completed, 2);
    cr_assert(isnan(f.heard.metrics.loss), "slice %u, %g", slice, (double)value);
    for (uint32_t i = 0; i < SLICES; i++)
        push_all(&f, i, 2);
    cr_assert_eq(f.heard.completed, 3);
    cr_assert(isnan(f.heard.metrics.loss));
    shard_fini(&f.shard);
}

Test(shard, a_theta_that_is_not_finite_is_told_with_its_step)
{
    static const float VALUES[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++)
        for (uint32_t slice = 0; slice < SLICES; slice++) {
            one_infinity(0, slice, VALUES[i]);
            one_infinity(2, slice, VALUES[i]);
        }
    ASSERT_NO_LEAKS();
}
