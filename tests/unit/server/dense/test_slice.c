/* A slice's commits: whatever blocks the gradients come in, in whatever order, repeated or superseded, theta has the
 * same bits. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/dense/slice.h"
#include "tests/unit/support/leaks.h"

#define ROLL_SEED 998244353u
#include "tests/unit/support/roll.h"

enum { ELEMS = 3000, STEPS = 5 };

static struct shard_job job_of(uint32_t slots, uint64_t batch, int rule)
{
    static struct shard_job job;
    dp_error err;
    job = (struct shard_job){
        .plan = {.seed = 3, .train_rows = 100, .eval_rows = 0, .batch = batch, .train_steps = STEPS, .slots = slots},
        .rule = update_rule_at(rule),
        .params = {.schedule.lr = 0.1, .momentum = 0.9},
        .regular = {{.l2 = 0.01}},
    };
    uint64_t weight = ELEMS - 8, bias = 8;
    cr_assert_eq(tensors_add(&job.tensors, "weight", 1, &weight, INIT_NORMAL, 1.0f, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "bias", 1, &bias, INIT_ZEROS, 0.0f, false, &err), DP_OK);
    return job;
}

/* Gradient of a slot at a step: any numbers with rounding in their sums. */
static void leaf(uint64_t step, uint32_t slot, float *out)
{
    for (uint32_t i = 0; i < ELEMS; i++)
        out[i] = sinf((float)(i * 7 + slot * 131 + step * 17)) * powf(10.0f, (float)(slot % 5) - 2.0f);
}

/* Sum of a heap node as a worker would fold it: children first, left + right, empty ones skipped. False if there is
 * nothing. */
static bool fold(const struct slice *s, uint64_t step, uint32_t node, float *out, struct metrics *m)
{
    struct plan_step at = plan_at(&s->job->plan, step);
    if (node >= s->window.leaves) {
        uint32_t slot = node - s->window.leaves;
        if (slot >= s->window.slots || plan_slot_empty(&s->job->plan, &at, slot))
            return false;
        uint64_t first, count;
        plan_slot(&s->job->plan, &at, slot, &first, &count);
        *m = (struct metrics){count, 0.1 * (slot + 1), slot};
        leaf(step, slot, out);
        return true;
    }
    float *right = malloc(ELEMS * sizeof *right);
    struct metrics rm = {0};
    bool l = fold(s, step, 2 * node, out, m);
    bool r = fold(s, step, 2 * node + 1, l ? right : out, l ? &rm : m);
    if (l && r) {
        for (uint32_t i = 0; i < ELEMS; i++)
            out[i] = out[i] + right[i];
        *m = (struct metrics){m->count + rm.count, m->loss + rm.loss, m->correct + rm.correct};
    }
    free(right);
    return l || r;
}

static void push_node(struct slice *s, uint64_t step, uint32_t node)
{
    struct metrics m = {0};
    float *sum = mem_array(ELEMS, sizeof *sum);
    if (!fold(s, step, node, sum, &m)) {
        free(sum);
        return;
    }
    struct blob blob = {sum, ELEMS * sizeof *sum, sum, free};
    (void)slice_push(s, step, node, &blob, &m);
    cr_assert_null(blob.data, "taken");
}

/* Runs the job with random nodes; the final theta to out, metrics of the last step to *m. */
static void run(const struct shard_job *job, bool whole, float *out, struct metrics *m)
{
    struct slice s;
    dp_error err;
    cr_assert_eq(slice_init(&s, job, (struct range){0, ELEMS}, &err), DP_OK);
    while (s.window.next < s.total_steps) {
        uint64_t step = s.window.next;
        while (!slice_ready(&s)) {
            push_node(&s, step, whole ? 1 : 1 + roll(2 * s.window.leaves - 1));
            cr_assert_leq(steps_held(&s.window, step), s.window.slots / 2 + 1, "the budget");
        }
        cr_assert_eq(slice_commit(&s, m, &err), DP_OK);
        slice_release_before(&s, s.window.next);
    }
    memcpy(out, slice_theta(&s, s.total_steps)->theta, ELEMS * sizeof *out);
    slice_fini(&s);
}

static void check_bits(uint32_t slots, uint64_t batch, int rule)
{
    struct shard_job job = job_of(slots, batch, rule);
    float *want = malloc(ELEMS * sizeof *want), *got = malloc(ELEMS * sizeof *got);
    struct metrics want_m, got_m;
    run(&job, true, want, &want_m);
    for (int round = 0; round < 6; round++) {
        run(&job, false, got, &got_m);
        cr_assert_eq(memcmp(want, got, ELEMS * sizeof *want), 0, "K = %u, batch = %u, rule %d", slots, (unsigned)batch,
                     rule);
        cr_assert_eq(memcmp(&want_m, &got_m, sizeof got_m), 0);
    }
    free(want);
    free(got);
}

Test(slice, any_blocks_in_any_order_give_the_same_bits)
{
    static const uint32_t SLOTS[] = {1, 2, 3, 5, 8, 11, 16, 30};
    for (size_t i = 0; i < sizeof SLOTS / sizeof SLOTS[0]; i++)
        for (int rule = 0; rule < 2; rule++) {
            check_bits(SLOTS[i], 64, rule);
            check_bits(SLOTS[i], 7, rule); /* fewer rows than slots: some are empty */
        }
    ASSERT_NO_LEAKS();
}

static bool first_two(const void *arg, uint32_t slot)
{
    (void)arg;
    return slot < 2;
}

/* theta_1 of a step of 8 slots without the first two, handed in as `count` nodes. */
static void commit_without_two(const struct shard_job *job, const uint32_t *nodes, size_t count, float *out)
{
    struct slice s;
    dp_error err;
    struct metrics m;
    cr_assert_eq(slice_init(&s, job, (struct range){0, ELEMS}, &err), DP_OK);
    steps_open(&s.window, 0, first_two, NULL);
    for (size_t i = 0; i < count; i++)
        push_node(&s, 0, nodes[i]);
    cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
    memcpy(out, slice_theta(&s, 1)->theta, ELEMS * sizeof *out);
    slice_fini(&s);
}

static void run_to(struct slice *s, uint64_t end)
{
    dp_error err;
    struct metrics m;
    while (s->window.next < end) {
        while (!slice_ready(s))
            push_node(s, s->window.next, 1 + roll(2 * s->window.leaves - 1));
        cr_assert_eq(slice_commit(s, &m, &err), DP_OK);
        slice_release_before(s, s->window.next);
    }
}

/* A slice that begins at a later step, with theta and the state of then, ends with the bits of one that began at 0. */
Test(slice, goes_on_from_a_later_step)
{
    for (int rule = 0; rule < UPDATE_RULES; rule++)
        for (uint64_t first = 1; first < STEPS && !update_rule_at(rule)->layerwise; first++) {
            struct shard_job whole = job_of(5, 50, rule), later = whole;
            struct slice a, b;
            dp_error err;
            later.first_step = first;
            cr_assert_eq(slice_init(&a, &whole, (struct range){0, ELEMS}, &err), DP_OK);
            cr_assert_eq(slice_init(&b, &later, (struct range){0, ELEMS}, &err), DP_OK);
            run_to(&a, first);
            cr_assert_null(slice_theta(&b, first - 1), "before its time");
            cr_assert_eq(slice_theta(&a, first)->number, slice_theta(&b, first)->number);
            memcpy(slice_theta(&b, first)->theta, slice_theta(&a, first)->theta, ELEMS * sizeof(float));
            for (uint32_t i = 0; i < whole.rule->state_count; i++)
                memcpy(b.state[i], a.state[i], ELEMS * sizeof(float));
            run_to(&a, STEPS);
            run_to(&b, STEPS);
            cr_assert_eq(memcmp(slice_theta(&a, STEPS)->theta, slice_theta(&b, STEPS)->theta, ELEMS * sizeof(float)), 0,
                         "%s from step %u", whole.rule->name, (unsigned)first);
            slice_fini(&a);
            slice_fini(&b);
        }
    ASSERT_NO_LEAKS();
}

/* Any slots may be empty: the plan's are spread evenly, others need not be. */
Test(slice, an_empty_subtree_before_one_that_is_added_up)
{
    static const uint32_t LEAVES[] = {8 + 2, 8 + 3, 6, 8 + 6, 8 + 7}, FOLDED[] = {5, 3};
    struct shard_job job = job_of(8, 64, 0);
    float want[ELEMS], got[ELEMS];
    commit_without_two(&job, FOLDED, 2, want);
    commit_without_two(&job, LEAVES, 5, got);
    cr_assert_eq(memcmp(want, got, sizeof want), 0);
    ASSERT_NO_LEAKS();
}

/* Momentum and coupled decay against the formula in double; the bias is not regularized. */
Test(slice, commit_follows_the_formula)
{
    struct shard_job job = job_of(4, 50, 1);
    struct slice s;
    dp_error err;
    struct metrics m;
    float g[ELEMS];
    double w[ELEMS], mom[ELEMS] = {0};
    cr_assert_eq(slice_init(&s, &job, (struct range){0, ELEMS}, &err), DP_OK);
    for (uint32_t i = 0; i < ELEMS; i++)
        w[i] = s.at[0]->theta[i];
    while (s.window.next < s.total_steps) {
        cr_assert(fold(&s, s.window.next, 1, g, &m));
        for (uint32_t i = 0; i < ELEMS; i++) {
            double u = g[i] / 50.0 + (i < ELEMS - 8 ? 0.01 * w[i] : 0);
            mom[i] = 0.9 * mom[i] + u;
            w[i] -= 0.1 * mom[i];
        }
        push_node(&s, s.window.next, 1);
        cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
        cr_assert_eq(m.count, 50);
        slice_release_before(&s, s.window.next);
    }
    for (uint32_t i = 0; i < ELEMS; i++)
        cr_assert_float_eq(slice_theta(&s, STEPS)->theta[i], w[i], 1e-5 * (1 + fabs(w[i])));
    slice_fini(&s);
}

enum { LARGE = (512 << 10) / sizeof(float) + 3 };

/* Two slots, sgd, one tensor. */
static struct shard_job large_job(void)
{
    struct shard_job job = {
        .plan = {.seed = 3, .train_rows = 200, .batch = 20, .train_steps = STEPS, .slots = 2},
        .rule = update_rule_at(0),
        .params = {.schedule.lr = 0.1},
    };
    dp_error err;
    uint64_t elems = LARGE;
    cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_NORMAL, 1.0f, true, &err), DP_OK);
    return job;
}

/* A payload that tells when it is released. */
struct payload {
    float *values;
    bool released;
};

static void payload_release(void *owner)
{
    struct payload *p = owner;
    cr_assert_not(p->released);
    p->released = true;
}

static void push_payload(struct slice *s, uint64_t step, uint32_t node, struct payload *p)
{
    struct metrics m = {.count = 10};
    p->values = mem_array(LARGE, sizeof *p->values);
    for (uint32_t i = 0; i < LARGE; i++)
        p->values[i] = sinf((float)(i + step * 17 + node * 131));
    struct blob blob = {p->values, LARGE * sizeof *p->values, p, payload_release};
    cr_assert_eq(slice_push(s, step, node, &blob, &m), STEPS_KEEP);
}

/* theta_{t+1} = theta_t - lr/20 * (the sum of two slots' gradients), as they come. */
static void expect_step(const float *before, uint64_t step, const float *after)
{
    for (uint32_t i = 0; i < LARGE; i++) {
        float sum = sinf((float)(i + step * 17 + 2 * 131)) + sinf((float)(i + step * 17 + 3 * 131));
        float u = sum * (1.0f / 20), want = before[i] - 0.1f * (u + 0.0f * before[i]);
        cr_assert_eq(memcmp(&want, &after[i], sizeof want), 0, "element %u: %a, %a", i, want, after[i]);
    }
}

/* A large payload becomes the next theta, stays for as long as somebody refers to that, and then goes; a payload of
 * workers' memory, or beside planes that somebody maps, is only read. */
Test(slice, theta_is_written_over_a_large_payload)
{
    struct shard_job job = large_job();
    struct slice s;
    struct payload p[3][2] = {0};
    struct metrics m;
    dp_error err;
    cr_assert_eq(slice_init(&s, &job, (struct range){0, LARGE}, &err), DP_OK);
    for (uint64_t step = 0; step < 3; step++) {
        struct version *before = slice_theta(&s, step);
        push_payload(&s, step, 2, &p[step][0]);
        push_payload(&s, step, 3, &p[step][1]);
        cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
        struct version *after = slice_theta(&s, step + 1);
        cr_assert_eq(after->theta, p[step][0].values, "in place of the first");
        cr_assert_not(p[step][0].released);
        cr_assert(p[step][1].released);
        expect_step(before->theta, step, after->theta);
        if (step == 0) {
            version_retain(after); /* as a reply in flight does */
            continue;
        }
        slice_release_before(&s, step + 1);
    }
    struct version *held = s.versions.list;
    while (held && held->number != 1)
        held = held->next;
    cr_assert_not_null(held);
    cr_assert_not(p[0][0].released, "somebody refers to theta_1");
    cr_assert_eq(held->theta, p[0][0].values);
    version_release(held);
    struct payload last[2] = {0};
    push_payload(&s, 3, 2, &last[0]);
    push_payload(&s, 3, 3, &last[1]);
    cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
    cr_assert(p[0][0].released, "nobody does any more");
    cr_assert(p[1][0].released);
    cr_assert_not(p[2][0].released, "theta_3 has not been let go");
    slice_fini(&s);
    cr_assert(p[2][0].released && last[0].released);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++)
            free(p[i][k].values);
    free(last[0].values);
    free(last[1].values);
}

Test(slice, theta_stays_in_its_plane_while_somebody_maps_it)
{
    struct shard_job job = large_job();
    struct planes planes;
    struct slice s;
    struct payload p[2][2] = {0};
    struct metrics m;
    dp_error err;
    cr_assert_eq(planes_init(&planes, LARGE, (struct range){0, LARGE}, &err), DP_OK);
    job.planes = &planes;
    planes.readers = 1;
    cr_assert_eq(slice_init(&s, &job, (struct range){0, LARGE}, &err), DP_OK);
    for (uint64_t step = 0; step < 2; step++) {
        push_payload(&s, step, 2, &p[step][0]);
        push_payload(&s, step, 3, &p[step][1]);
        cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
        bool in_plane = slice_theta(&s, step + 1)->theta == planes_at(&planes, (uint32_t)(step + 1) % planes.count, 0);
        cr_assert_eq(in_plane, step == 0, "step %u", (unsigned)step);
        expect_step(slice_theta(&s, step)->theta, step, slice_theta(&s, step + 1)->theta);
        planes.readers = 0;
    }
    cr_assert(p[0][0].released);
    cr_assert_not(p[1][0].released);
    slice_fini(&s);
    planes_fini(&planes);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            free(p[i][k].values);
}

Test(slice, old_versions_stay_until_the_head_lets_them_go)
{
    struct shard_job job = job_of(1, 20, 0);
    struct slice s;
    dp_error err;
    struct metrics m;
    cr_assert_eq(slice_init(&s, &job, (struct range){0, ELEMS}, &err), DP_OK);
    push_node(&s, 0, 1);
    cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
    struct version *old = slice_theta(&s, 0);
    cr_assert_not_null(old,
                       "theta_0 is held after step 0: a slot of it may have to be computed again for another shard");
    float first = old->theta[0];
    version_retain(old);
    slice_release_before(&s, 1);
    cr_assert_null(slice_theta(&s, 0));
    push_node(&s, 1, 1);
    cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
    cr_assert_eq(old->theta[0], first, "a version somebody refers to is not written");
    version_release(old);
    slice_fini(&s);
}

/* The step after the last that may run ahead of the head waits for its announcement. */
Test(slice, does_not_run_ahead_without_bound)
{
    struct shard_job job = job_of(1, 20, 0);
    job.plan.train_steps = 500;
    struct slice s;
    dp_error err;
    struct metrics m;
    cr_assert_eq(slice_init(&s, &job, (struct range){0, ELEMS}, &err), DP_OK);
    for (;;) {
        push_node(&s, s.window.next, 1);
        if (!slice_ready(&s))
            break;
        cr_assert_eq(slice_commit(&s, &m, &err), DP_OK);
    }
    cr_assert_eq(s.window.next + 1, slice_versions_max(&s));
    slice_release_before(&s, s.window.next);
    cr_assert(slice_ready(&s));
    slice_fini(&s);
    ASSERT_NO_LEAKS();
}
