/* Commits on arrival: the window as arithmetic under random events, versions that do not change under those who hold
 * them, trajectories that tend to those of whole steps, and how much delay gradient descent bears. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/dense/on_arrival.h"
#include "tests/unit/support/leaks.h"

#define ROLL_SEED 6364136223846793005u
#include "tests/unit/support/roll.h"

static struct shard_job job_of(const struct plan *plan, const struct update_rule *rule, uint64_t elems, uint32_t s)
{
    dp_error err;
    struct shard_job job = {
        .plan = *plan,
        .rule = rule,
        .params = {.schedule = {.lr = 0.1, .period = 1, .period_mult = 1, .every = 1},
                   .momentum = 0.9,
                   .beta1 = 0.9,
                   .beta2 = 0.99,
                   .alpha = 0.95,
                   .eps = 1e-8,
                   .ftrl_beta = 1},
    };
    cr_assert(consistency_set(&job.consistency, 0, s));
    cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_NORMAL, 1.0F, true, &err), DP_OK);
    return job;
}

/* The commit of a gradient that is as late as `between` says. */
static struct arrival_read late(uint64_t between)
{
    return (struct arrival_read){.known = true, .between = between};
}

/* The gradient sum `value` in each element, of a slot. */
static struct blob gradient_of(uint64_t elems, float value)
{
    float *g = mem_array(elems, sizeof *g);
    for (uint64_t i = 0; i < elems; i++)
        g[i] = value;
    return (struct blob){g, elems * sizeof *g, g, free};
}

/* Commits whatever is complete; reports are not looked at here. */
static void commit_ready(struct slice *s)
{
    while (slice_ready(s)) {
        struct metrics m;
        dp_error err;
        uint64_t step = s->window.next;
        cr_assert_eq((slice_staleness(s, step) > 0 ? arrival_pass : slice_commit)(s, &m, &err), DP_OK);
        free(slice_report_take(s, step));
    }
}

/* ---- the window ---- */

enum { ELEMS = 4, SLOTS_MAX = 9, HELD_MAX = 6, EVENTS = 200000 };

struct held {
    struct version *version;
    float copy[ELEMS];
};

/* A model that knows slots only. */
struct truth {
    struct slice slice;
    struct shard_job job;
    uint64_t total;
    bool *covered; /* [total * slots] */
    uint64_t kept;
    struct held held[HELD_MAX];
};

static bool is_eval(const struct truth *t, uint64_t step)
{
    return !plan_at(&t->job.plan, step).asks->commits;
}

static bool is_empty(const struct truth *t, uint64_t step, uint32_t slot)
{
    struct plan_step at = plan_at(&t->job.plan, step);
    return plan_slot_empty(&t->job.plan, &at, slot);
}

static bool is_complete(const struct truth *t, uint64_t step)
{
    for (uint32_t k = 0; k < t->job.plan.slots; k++)
        if (!is_empty(t, step, k) && !t->covered[step * t->job.plan.slots + k])
            return false;
    return true;
}

static void truth_start(struct truth *t)
{
    dp_error err;
    struct plan plan = {.seed = 1,
                        .train_rows = 1 + roll(40),
                        .eval_rows = roll(2) ? 5 : 0,
                        .train_steps = 5 + roll(30),
                        .slots = 1 + roll(SLOTS_MAX)};
    plan.batch = 1 + roll((uint32_t)plan.train_rows);
    *t = (struct truth){.job = job_of(&plan, &rule_momentum, ELEMS, 1 + roll(5))};
    t->total = plan_total(&plan);
    t->covered = mem_array_zero(t->total * plan.slots, sizeof *t->covered);
    cr_assert_eq(slice_init(&t->slice, &t->job, (struct range){0, ELEMS}, &err), DP_OK);
}

static void push(struct truth *t, uint64_t step, uint32_t slot)
{
    struct slice *s = &t->slice;
    dp_error err;
    struct metrics m = {.count = 1};
    enum steps_verdict verdict;
    bool open = step < s->window.opened, *covered = &t->covered[step * t->job.plan.slots + slot];
    struct arrival_read now = late(0);
    bool fresh = open && !*covered && !is_empty(t, step, slot);
    if (is_eval(t, step)) {
        struct blob none = {0};
        verdict = slice_push(s, step, s->window.leaves + slot, &none, &m);
    } else {
        struct blob g = gradient_of(ELEMS, 0.01F);
        cr_assert_eq(arrival_push(s, step, s->window.leaves + slot, &now, &g, &m, &verdict, &err), DP_OK);
        cr_assert_null(g.data, "taken");
    }
    cr_assert_eq(verdict == STEPS_KEEP, fresh, "each slot once");
    cr_assert_eq(verdict == STEPS_AHEAD, !open);
    *covered |= fresh;
    t->kept += fresh;
}

/* The next one with this theta is somebody's who computes on it for long. */
static void hold(struct truth *t)
{
    struct held *h = &t->held[roll(HELD_MAX)];
    if (h->version) {
        cr_assert_arr_eq(h->version->theta, h->copy, sizeof h->copy, "a version changed under its holder");
        version_release(h->version);
    }
    h->version = slice_theta(&t->slice, t->slice.window.next);
    version_retain(h->version);
    memcpy(h->copy, h->version->theta, sizeof h->copy);
}

static void check_window(const struct truth *t, uint64_t low_before)
{
    const struct steps *w = &t->slice.window;
    uint64_t s = t->job.consistency.changes[0].staleness;
    cr_assert_geq(w->next, low_before, "low never goes back");
    cr_assert_leq(w->opened - w->next, s + 1, "max open step - low");
    for (uint64_t step = w->next; step < w->opened; step++)
        cr_assert(!is_eval(t, step) || w->opened == w->next + 1, "nothing is open beside an evaluation");
    uint64_t pulled = w->next + roll((uint32_t)s + 3);
    if (pulled < t->total && slice_pull_ready(&t->slice, pulled))
        for (uint64_t step = 0; step + s + 1 <= pulled || (is_eval(t, pulled) && step < pulled); step++)
            cr_assert(is_complete(t, step), "a pull for %u is answered without %u", (unsigned)pulled, (unsigned)step);
}

static void event(struct truth *t)
{
    struct slice *s = &t->slice;
    uint64_t low = s->window.next, first = low > 2 ? low - 2 : 0;
    uint64_t step = first + roll((uint32_t)(s->window.opened - first) + 2);
    if (roll(4) == 0)
        hold(t);
    if (step < t->total)
        push(t, step, roll(t->job.plan.slots));
    commit_ready(s);
    for (uint64_t done = low; done < s->window.next; done++)
        cr_assert(is_complete(t, done));
    if (roll(3) == 0)
        slice_release_before(s, s->window.next);
    check_window(t, low);
}

static void truth_stop(struct truth *t)
{
    for (int i = 0; i < HELD_MAX; i++)
        if (t->held[i].version)
            version_release(t->held[i].version);
    slice_fini(&t->slice);
    free(t->covered);
}

Test(arrival, the_window_holds_under_random_events)
{
    uint32_t events = 0, jobs = 0;
    while (events < EVENTS) {
        struct truth t;
        uint64_t slots = 0;
        truth_start(&t);
        for (; t.slice.window.next < t.total; events++) {
            event(&t);
            cr_assert(t.slice.window.next < t.total || slice_pull_ready(&t.slice, t.total), "the end is told");
        }
        for (uint64_t step = 0; step < t.total; step++)
            for (uint32_t k = 0; k < t.job.plan.slots; k++)
                slots += !is_empty(&t, step, k);
        cr_assert_eq(t.kept, slots, "every slot of every step, once");
        truth_stop(&t);
        jobs++;
    }
    cr_assert_gt(jobs, 50);
    ASSERT_NO_LEAKS();
}

/* ---- trajectories ---- */

enum { DIM = 6 };

/* The gradient of a quadratic with curvatures 0.5 .. 1.75 around 0.3, times `count`: the same mean for each slot. */
static struct blob slope(const float *w, uint64_t count)
{
    float *g = mem_array(DIM, sizeof *g);
    for (int i = 0; i < DIM; i++)
        g[i] = (float)count * (0.5F + 0.25F * (float)i) * (w[i] - 0.3F);
    return (struct blob){g, DIM * sizeof *g, g, free};
}

static void push_slope(struct slice *s, uint64_t step, uint32_t slot)
{
    dp_error err;
    enum steps_verdict verdict;
    struct plan_step at = plan_at(&s->job->plan, step);
    uint64_t first, count;
    plan_slot(&s->job->plan, &at, slot, &first, &count);
    struct metrics m = {.count = count};
    struct arrival_read now = late(0);
    struct blob g = slope(slice_theta(s, step)->theta, count);
    if (slice_staleness(s, step) > 0)
        cr_assert_eq(arrival_push(s, step, s->window.leaves + slot, &now, &g, &m, &verdict, &err), DP_OK);
    else
        verdict = slice_push(s, step, s->window.leaves + slot, &g, &m);
    cr_assert_eq(verdict, STEPS_KEEP);
}

/* theta after `steps` steps. */
static void run(struct shard_job job, uint32_t staleness, uint32_t slots, uint64_t steps, double lr, float *out)
{
    struct slice s;
    dp_error err;
    job.plan.slots = slots;
    job.plan.train_steps = steps;
    job.params.schedule.lr = lr;
    cr_assert(consistency_set(&job.consistency, 0, staleness));
    cr_assert_eq(slice_init(&s, &job, (struct range){0, DIM}, &err), DP_OK);
    for (uint64_t step = 0; step < steps; step++) {
        for (uint32_t k = 0; k < slots; k++)
            push_slope(&s, step, k);
        commit_ready(&s);
        slice_release_before(&s, step + 1);
    }
    memcpy(out, slice_theta(&s, steps)->theta, DIM * sizeof *out);
    slice_fini(&s);
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < DIM; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(sum);
}

/* The distance between the ends of commits on arrival and of whole steps, as a share of the way that these went. */
static double gap(const struct shard_job *job, uint64_t steps, double lr)
{
    float start[DIM], whole[DIM], parts[DIM];
    tensors_init_range(&job->tensors, job->plan.seed, 0, DIM, start);
    run(*job, 0, 5, steps, lr, whole);
    run(*job, 1, 5, steps, lr, parts);
    return distance(whole, parts) / distance(whole, start);
}

static const struct update_rule *const ARRIVING[] = {&rule_sgd,     &rule_momentum, &rule_nesterov, &rule_adagrad,
                                                     &rule_rmsprop, &rule_adam,     &rule_adamw,    &rule_ftrl};

static struct shard_job trajectory_job(const struct update_rule *rule, int variant)
{
    const struct plan plan = {.seed = 3, .train_rows = 23, .batch = 23, .train_steps = 1, .slots = 1};
    struct shard_job job = job_of(&plan, rule, DIM, 0);
    job.regular[0].l2 = 0.1;
    if (variant == 1 && !rule->l2_inside)
        job.params.decay = DECAY_DECOUPLED;
    if (variant == 2)
        job.regular[0].l1 = 0.05;
    if (variant == 3)
        job.params.clip_value = 0.2;
    return job;
}

Test(arrival, tends_to_whole_steps_as_the_rate_shrinks)
{
    for (size_t i = 0; i < sizeof ARRIVING / sizeof ARRIVING[0]; i++)
        for (int variant = 0; variant < 4; variant++) {
            struct shard_job job = trajectory_job(ARRIVING[i], variant);
            double wide = gap(&job, 60, 0.02), near = gap(&job, 960, 0.02 / 16);
            cr_assert_lt(near, 0.02, "%s, variant %d: %g", ARRIVING[i]->name, variant, near);
            cr_assert_lt(near, 0.5 * wide, "%s, variant %d: %g after %g", ARRIVING[i]->name, variant, near, wide);
        }
    ASSERT_NO_LEAKS();
}

/* With one slot a commit on arrival is a whole step. */
Test(arrival, one_slot_is_a_whole_step)
{
    for (size_t i = 0; i < sizeof ARRIVING / sizeof ARRIVING[0]; i++)
        for (int variant = 0; variant < 4; variant++) {
            struct shard_job job = trajectory_job(ARRIVING[i], variant);
            float whole[DIM], part[DIM];
            run(job, 0, 1, 40, 0.02, whole);
            run(job, 2, 1, 40, 0.02, part);
            for (int d = 0; d < DIM; d++)
                cr_assert_float_eq(part[d], whole[d], 2e-6F, "%s, variant %d", ARRIVING[i]->name, variant);
        }
}

/* ---- delay ---- */

enum { DELAY_MAX = 16, DELAYED_STEPS = 30000 };

/* |w| at the end of gradient descent on w^2/2, each gradient of which was computed `delay` commits before its own. */
static double descend_delayed(uint32_t delay, double lr)
{
    const struct plan plan = {.seed = 1, .train_rows = 1, .batch = 1, .train_steps = DELAYED_STEPS, .slots = 1};
    struct shard_job job = job_of(&plan, &rule_sgd, 1, DELAY_MAX + 1);
    struct slice s;
    dp_error err;
    struct metrics m = {.count = 1};
    enum steps_verdict verdict;
    float read[DELAY_MAX + 1];
    struct arrival_read read_late = late(delay);
    double largest = 0;
    job.params.schedule.lr = lr;
    cr_assert_eq(slice_init(&s, &job, (struct range){0, 1}, &err), DP_OK);
    s.at[0]->theta[0] = 1;
    for (uint32_t i = 0; i <= DELAY_MAX; i++)
        read[i] = 1;
    for (uint64_t t = 0; t < DELAYED_STEPS; t++) {
        float now = slice_theta(&s, t)->theta[0];
        read[t % (delay + 1)] = now;
        struct blob g = gradient_of(1, read[(t + 1) % (delay + 1)]);
        cr_assert_eq(arrival_push(&s, t, s.window.leaves, &read_late, &g, &m, &verdict, &err), DP_OK);
        commit_ready(&s);
        slice_release_before(&s, t + 1);
        largest = t + 200 < DELAYED_STEPS ? 0 : fmax(largest, fabs((double)now)); /* a period is shorter than that */
        if (!(fabs((double)now) < 1e6)) {
            largest = INFINITY;
            break;
        }
    }
    slice_fini(&s);
    return largest;
}

/* MATH.md: converges if and only if eta L < 2 sin(pi / (2 (2 tau + 1))). */
Test(arrival, the_delay_that_gradient_descent_bears)
{
    static const uint32_t DELAYS[] = {0, 1, 2, 4, 8, DELAY_MAX};
    for (size_t i = 0; i < sizeof DELAYS / sizeof DELAYS[0]; i++) {
        double threshold = 2 * sin(acos(-1) / (2 * (2.0 * DELAYS[i] + 1)));
        cr_assert_lt(descend_delayed(DELAYS[i], 0.95 * threshold), 1e-6, "delay %u at 0.95", DELAYS[i]);
        cr_assert_gt(descend_delayed(DELAYS[i], 1.05 * threshold), 1e5, "delay %u at 1.05", DELAYS[i]);
    }
    ASSERT_NO_LEAKS();
}

/* The rate of each commit is ada-delay's, of the delay in steps of two commits. */
Test(arrival, ada_delay_slows_the_late)
{
    static const uint64_t BETWEEN[] = {0, 1, 2, 7, 0, 30};
    const struct plan plan = {.seed = 1, .train_rows = 2, .batch = 2, .train_steps = 3, .slots = 2};
    struct shard_job job = job_of(&plan, &rule_sgd, 1, 2);
    struct slice s;
    dp_error err;
    struct metrics m = {.count = 1};
    enum steps_verdict verdict;
    job.params.schedule.kind = SCHEDULE_ADA_DELAY;
    job.params.schedule.decay = 0.25;
    cr_assert_eq(slice_init(&s, &job, (struct range){0, 1}, &err), DP_OK);
    s.at[0]->theta[0] = 1;
    for (uint64_t i = 0; i < 6; i++) {
        double before = (double)slice_theta(&s, s.window.next)->theta[0];
        double rate = 0.1 / (1 + 0.25 * sqrt((double)(i / 2) + (double)BETWEEN[i] / 2));
        struct arrival_read read = late(BETWEEN[i]);
        struct blob g = gradient_of(1, 0.5F);
        cr_assert_eq(arrival_push(&s, i / 2, s.window.leaves + i % 2, &read, &g, &m, &verdict, &err), DP_OK);
        cr_assert_eq(verdict, STEPS_KEEP);
        cr_assert_float_eq((double)slice_theta(&s, s.window.next)->theta[0], before - rate / 2 * 0.5, 1e-6, "commit %u",
                           (unsigned)i);
        commit_ready(&s);
    }
    slice_fini(&s);
    ASSERT_NO_LEAKS();
}

/* ---- a change of consistency ---- */

static void push_all(struct slice *s, uint64_t step)
{
    for (uint32_t k = 0; k < s->window.slots; k++)
        push_slope(s, step, k);
    commit_ready(s);
}

/* The first step of another kind opens when all before it are complete. */
Test(arrival, a_change_is_a_barrier)
{
    const struct plan plan = {.seed = 3, .train_rows = 8, .batch = 8, .train_steps = 9, .slots = 2};
    struct shard_job job = job_of(&plan, &rule_sgd, DIM, 2);
    struct slice s;
    dp_error err;
    cr_assert(consistency_set(&job.consistency, 4, 0));
    cr_assert(consistency_set(&job.consistency, 6, 1));
    cr_assert_eq(slice_init(&s, &job, (struct range){0, DIM}, &err), DP_OK);
    cr_assert_eq(s.window.opened, 3);
    push_slope(&s, 2, 0);
    push_all(&s, 0);
    push_all(&s, 1);
    cr_assert_eq(s.window.opened, 4, "step 4 commits once");
    push_slope(&s, 2, 1);
    push_all(&s, 3);
    cr_assert_eq(s.window.opened, 5);
    float before = slice_theta(&s, 4)->theta[0];
    push_slope(&s, 4, 0);
    cr_assert_eq(slice_theta(&s, 4)->theta[0], before, "theta_4 stands still");
    push_slope(&s, 4, 1);
    commit_ready(&s);
    push_all(&s, 5);
    cr_assert_eq(slice_theta(&s, 4)->theta[0], before, "and is there for late comers");
    cr_assert_eq(s.window.opened, 8);
    push_all(&s, 7);
    cr_assert_eq(slice_theta(&s, 4)->theta[0], before);
    push_all(&s, 6);
    push_all(&s, 8);
    cr_assert_eq(s.window.next, 9);
    slice_fini(&s);
    ASSERT_NO_LEAKS();
}
