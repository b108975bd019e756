/* Late gradients that are compensated: what is kept of the past, one commit against the formula in double precision,
 * and a delay that plain descent does not bear. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/dense/on_arrival.h"
#include "server/shard/shard.h"
#include "tests/unit/support/hear.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/roll.h"

/* ---- the past ---- */

enum { SESSIONS = 9, VERSIONS = 400, MOST = 4 };

/* The last answer to a session, and whether it may have been let go. */
struct model {
    uint64_t number[SESSIONS];
    bool kept[SESSIONS];
};

static uint32_t different(const struct model *m)
{
    uint32_t count = 0;
    for (int i = 0; i < SESSIONS; i++) {
        bool first = m->kept[i];
        for (int j = 0; j < i; j++)
            first &= !m->kept[j] || m->number[j] != m->number[i];
        count += first;
    }
    return count;
}

static void let_go_oldest(struct model *m)
{
    uint64_t oldest = UINT64_MAX;
    for (int i = 0; i < SESSIONS; i++)
        if (m->kept[i] && m->number[i] < oldest)
            oldest = m->number[i];
    for (int i = 0; i < SESSIONS; i++)
        m->kept[i] &= m->number[i] != oldest;
}

static void check_past(const struct past *past, const struct model *m, const struct version *versions)
{
    cr_assert_eq(past->versions, different(m));
    cr_assert_leq(past->versions, MOST);
    for (uint64_t v = 0; v < VERSIONS; v++) {
        uint32_t holders = 0;
        for (int i = 0; i < SESSIONS; i++)
            holders += m->kept[i] && m->number[i] == v;
        cr_assert_eq(versions[v].refs, 1 + holders, "version %u", (unsigned)v);
        cr_assert_eq(past_find(past, v), holders ? &versions[v] : NULL);
    }
}

Test(compensation, the_past_is_what_sessions_were_answered_with)
{
    static struct version versions[VERSIONS];
    struct past past = {.most = MOST};
    struct model m = {0};
    for (uint64_t v = 0; v < VERSIONS; v++)
        versions[v] = (struct version){.refs = 1, .number = v};
    for (uint64_t now = 0; now < VERSIONS; now += roll(2)) {
        uint32_t who = roll(SESSIONS);
        m.kept[who] = roll(5) > 0;
        m.number[who] = now;
        if (m.kept[who])
            past_keep(&past, who, &versions[now]);
        else
            past_forget(&past, who);
        if (different(&m) > MOST)
            let_go_oldest(&m);
        check_past(&past, &m, versions);
    }
    past_fini(&past);
    for (uint64_t v = 0; v < VERSIONS; v++)
        cr_assert_eq(versions[v].refs, 1);
    past_keep(&past, 1, &versions[0]);
    cr_assert_eq(past.count, 0, "where there is no room nothing is kept");
    ASSERT_NO_LEAKS();
}

/* ---- one commit ---- */

enum { ELEMS = 37, SLOTS = 4, ROWS = 10 };

struct fixture {
    struct shard_job job;
    struct shard shard;
    struct shard_counters counters;
    float theta[ELEMS]; /* as last answered */
    uint64_t number;
};

static void hear_params(void *arg, const struct params *p)
{
    struct fixture *f = arg;
    f->number = p->number;
    if (p->version)
        memcpy(f->theta, p->version->theta, sizeof f->theta);
}

static void hear_refusal(void *arg, const struct refusal *refusal)
{
    (void)arg;
    cr_assert_fail("%s", refusal->text);
}

static void hear_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    (void)arg, (void)session, (void)step, (void)node;
}

static void hear_failed(void *arg, const dp_error *err)
{
    (void)arg;
    cr_assert_fail("%s", err->text);
}

static void hear(void *arg, const struct event *event)
{
    hear_event(&(struct hearing){.failed = hear_failed}, arg, event);
}

static void set_up(struct fixture *f, const struct update_rule *rule, double compensation, uint32_t past)
{
    dp_error err;
    uint64_t shape = ELEMS;
    struct shard_calls calls = {
        .params = hear_params, .refuse = hear_refusal, .emit = hear, .arrived = hear_arrived, .arg = f};
    struct range whole = {0, ELEMS};
    *f = (struct fixture){
        .job = {.plan = {.seed = 1, .train_rows = ROWS, .batch = ROWS, .train_steps = 8, .slots = SLOTS},
                .rule = rule,
                .params = {.schedule.lr = 0.25, .momentum = 0.9, .compensation = compensation},
                .past = past}};
    cr_assert(consistency_set(&f->job.consistency, 0, 4));
    cr_assert_eq(tensors_add(&f->job.tensors, "weight", 1, &shape, INIT_NORMAL, 1, true, &err), DP_OK);
    shard_init(&f->shard, 0, &f->counters, &calls);
    cr_assert_eq(shard_start(&f->shard, &f->job, 0, &whole, 1, &err), DP_OK);
}

static void pull(struct fixture *f, uint32_t session, uint64_t have)
{
    struct blob none = {0};
    struct push_pull msg = {
        .session = session, .pull = true, .pull_step = f->shard.slices[0].window.next, .have = have};
    shard_push_pull(&f->shard, &msg, &none);
}

/* Element i of the gradient sum of a push. */
static float sum_of(int i)
{
    return 2.5F * sinf(1 + (float)i);
}

/* A slot of the first open step, computed on version `read`. */
static void push(struct fixture *f, uint32_t slot, uint64_t read)
{
    float *g = mem_array(ELEMS, sizeof *g);
    for (int i = 0; i < ELEMS; i++)
        g[i] = sum_of(i);
    struct blob gradient = {g, ELEMS * sizeof *g, g, free};
    struct push_pull msg = {.session = 1,
                            .push = true,
                            .step = f->shard.slices[0].window.next,
                            .node = SLOTS + slot,
                            .read = read + 1,
                            .metrics = {1, 0.5, 1}};
    shard_push_pull(&f->shard, &msg, &gradient);
}

/* theta that a session is answered with. */
static void look(struct fixture *f, uint32_t session, double *theta)
{
    pull(f, session, 0);
    for (int i = 0; i < ELEMS; i++)
        theta[i] = (double)f->theta[i];
}

/* The commit of slot 1, which has 3 of the 10 rows, computed on `read`: w - c lr h, h = clip(g + x g g (w - read)), g
 * the mean over the slot's rows. */
static double formula(int i, double w, double read, double compensation, double clip)
{
    double g = (double)sum_of(i) / 3, h = g + compensation * g * g * (w - read);
    h = clip > 0 ? fmax(-clip, fmin(clip, h)) : h;
    return w - 0.3 * 0.25 * h;
}

/* Session 1 computes on version 0, and session 2 commits before it does. */
static void check_commit(double compensation, double clip)
{
    struct fixture f;
    double read[ELEMS], before[ELEMS], after[ELEMS], moved = 0;
    set_up(&f, &rule_sgd, compensation, 10);
    f.shard.own.params.clip_value = clip;
    look(&f, 1, read);
    push(&f, 0, 0);
    push(&f, 3, 0);
    look(&f, 2, before);
    cr_assert_eq(f.number, 2);
    push(&f, 1, 0);
    look(&f, 2, after);
    for (int i = 0; i < ELEMS; i++) {
        cr_assert_float_eq(after[i], formula(i, before[i], read[i], compensation, clip), 2e-7, "element %d", i);
        moved = fmax(moved, fabs(after[i] - formula(i, before[i], before[i], compensation, clip)));
    }
    cr_assert_gt(moved, 1e-4, "the test would not see it if nothing was compensated");
    cr_assert_eq(f.counters.compensated, 2, "slots 3 and 1; slot 0 was not late");
    cr_assert_eq(f.counters.uncompensated, 0);
    shard_fini(&f.shard);
}

Test(compensation, one_commit_is_the_formula)
{
    check_commit(0.5, 0);
    check_commit(2, 0);
    check_commit(2, 0.4);
    ASSERT_NO_LEAKS();
}

/* The gradient goes on as the rule has it: a first commit of heavy ball is one of gradient descent, but for beta^c. */
Test(compensation, momentum_takes_the_compensated_gradient)
{
    struct fixture f;
    double read[ELEMS], before[ELEMS], after[ELEMS], beta = pow(0.9, 0.3), gain = (1 - beta) / 0.1;
    set_up(&f, &rule_momentum, 0.5, 10);
    look(&f, 1, read);
    push(&f, 0, 0);
    look(&f, 2, before);
    memset(f.shard.slices[0].state[0], 0, ELEMS * sizeof(float));
    push(&f, 1, 0);
    look(&f, 2, after);
    for (int i = 0; i < ELEMS; i++) {
        double g = (double)sum_of(i) / 3, h = g + 0.5 * g * g * (before[i] - read[i]);
        cr_assert_float_eq(after[i], before[i] - 0.3 * 0.25 * gain * h, 2e-7, "element %d", i);
    }
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* Two jobs end with the same bits after the same pushes. */
static bool same_end(double compensation, uint32_t past, double other, uint32_t other_past)
{
    struct fixture f[2];
    for (int j = 0; j < 2; j++) {
        set_up(&f[j], &rule_momentum, j ? other : compensation, j ? other_past : past);
        pull(&f[j], 1, 0);
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            push(&f[j], slot, 0);
        pull(&f[j], 2, 0);
        shard_fini(&f[j].shard);
    }
    return memcmp(f[0].theta, f[1].theta, sizeof f[0].theta) == 0;
}

Test(compensation, where_nothing_is_kept_the_bits_are_plain)
{
    cr_assert(same_end(0, 0, 0.5, 0));
    cr_assert_not(same_end(0, 0, 0.5, 10), "the test can fail");
    ASSERT_NO_LEAKS();
}

/* Room for two versions: what session 1 computes on goes first. Its gradient is taken as it is, and counted. */
Test(compensation, what_is_gone_is_counted)
{
    struct fixture f;
    double read[ELEMS], before[ELEMS], after[ELEMS];
    set_up(&f, &rule_sgd, 2, 2);
    look(&f, 1, read);
    for (uint32_t session = 2; session < 4; session++) {
        push(&f, session, session - 2);
        pull(&f, session, 0);
    }
    cr_assert_eq(f.counters.past_bytes, 2 * ELEMS * sizeof(float));
    uint64_t held = f.counters.compensated;
    look(&f, 4, before);
    push(&f, 1, 0);
    look(&f, 4, after);
    for (int i = 0; i < ELEMS; i++)
        cr_assert_float_eq(after[i], formula(i, before[i], before[i], 2, 0), 2e-7, "element %d", i);
    cr_assert_eq(f.counters.uncompensated, 1);
    cr_assert_eq(f.counters.compensated, held);
    for (uint32_t session = 1; session < 5; session++)
        shard_forget(&f.shard, session);
    cr_assert_eq(f.counters.past_bytes, 0, "what sessions computed on goes with them");
    push(&f, 0, 2);
    cr_assert_eq(f.counters.uncompensated, 2);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* A session that has the current version keeps it, and one that is past all training steps keeps nothing. */
Test(compensation, unchanged_is_kept_and_the_end_is_not)
{
    struct fixture f;
    set_up(&f, &rule_sgd, 2, 9);
    pull(&f, 1, 1);
    push(&f, 0, 0);
    push(&f, 1, 0);
    cr_assert_eq(f.counters.compensated, 1);
    for (uint32_t slot = 2; slot < SLOTS; slot++)
        push(&f, slot, 0);
    for (uint64_t step = 1; step < f.job.plan.train_steps; step++)
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            push(&f, slot, 0);
    cr_assert_eq(f.counters.uncompensated, 0);
    cr_assert_gt(f.counters.past_bytes, 0);
    pull(&f, 1, 0);
    cr_assert_eq(f.counters.past_bytes, 0);
    shard_fini(&f.shard);
    ASSERT_NO_LEAKS();
}

/* ---- delay ---- */

enum { DELAY_MAX = 16, STEPS = 30000, TAIL = 5000 };

/* A gradient of (w - x)^2/2 for a random x of -1 and 1, whose mean square at 0 is the curvature. */
static struct blob noisy(float read)
{
    float *g = mem_array(1, sizeof *g);
    *g = read - (roll(2) ? 1.0F : -1.0F);
    return (struct blob){g, sizeof *g, g, free};
}

/* The largest |w| of the last steps of descent, each gradient of which was computed `delay` commits before its own. */
static double descend(uint32_t delay, double lr, double compensation)
{
    uint64_t one = 1;
    struct slice s;
    dp_error err;
    struct shard_job job = {.plan = {.seed = 1, .train_rows = 1, .batch = 1, .train_steps = STEPS, .slots = 1},
                            .rule = &rule_sgd,
                            .params = {.schedule.lr = lr, .compensation = compensation},
                            .past = compensation > 0 ? delay + 1 : 0};
    float read[DELAY_MAX + 1] = {0};
    double largest = 0;
    cr_assert(consistency_set(&job.consistency, 0, 1));
    cr_assert_eq(tensors_add(&job.tensors, "w", 1, &one, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(slice_init(&s, &job, (struct range){0, 1}, &err), DP_OK);
    for (uint64_t t = 0; t < STEPS && largest < INFINITY; t++) {
        struct version *now = slice_theta(&s, t);
        uint32_t first = (uint32_t)(t + 1) % (delay + 1);
        struct metrics m = {.count = 1};
        enum steps_verdict verdict;
        read[t % (delay + 1)] = now->theta[0];
        past_keep(&s.past, (uint32_t)t % (delay + 1), now);
        struct arrival_read from = arrival_read(&s, t >= delay ? t - delay + 1 : 0);
        cr_assert_eq(from.version != NULL, compensation > 0 && t >= delay);
        struct blob g = noisy(read[first]);
        cr_assert_eq(arrival_push(&s, t, s.window.leaves, &from, &g, &m, &verdict, &err), DP_OK);
        cr_assert_eq(arrival_pass(&s, &m, &err), DP_OK);
        free(slice_report_take(&s, t));
        slice_release_before(&s, t + 1);
        double size = fabs((double)slice_theta(&s, t + 1)->theta[0]);
        largest = size < 1e6 ? (t + TAIL < STEPS ? 0 : fmax(largest, size)) : INFINITY;
    }
    slice_fini(&s);
    return largest;
}

/* At 1.5 and 2 times the rate that plain descent bears (MATH.md's threshold) it stays near the optimum. */
Test(compensation, bears_delays_that_plain_descent_does_not)
{
    static const uint32_t DELAYS[] = {8, DELAY_MAX};
    static const double FACTORS[] = {1.5, 2};
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < 2; i++) {
            double threshold = 2 * sin(acos(-1) / (2 * (2.0 * DELAYS[d] + 1))), lr = FACTORS[i] * threshold;
            double plain = descend(DELAYS[d], lr, 0), better = descend(DELAYS[d], lr, 0.5);
            cr_assert(isinf(plain), "delay %u, %g times: %g", DELAYS[d], FACTORS[i], plain);
            cr_assert_lt(better, 2.5, "delay %u, %g times", DELAYS[d], FACTORS[i]);
        }
    ASSERT_NO_LEAKS();
}
