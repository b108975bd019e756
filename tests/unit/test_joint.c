/* Regularizers and projected constraints together: the proximal operator of each accepted pair, and where training
 * under each rule ends, against optima that are certified in double precision (optimum.h). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "joint.h"
#include "leaks.h"
#include "model_terms.h"
#include "optimum.h"
#include "reference.h"
#include "rng.h"

enum { ROWS = 96, HALF = 12, FREE = 4, ALL = 2 * HALF + FREE };

/* "linear" stands for a row that is written to a file. */
static const struct pair {
    const char *one, *other;
} SETS[] = {
    {"nonneg", NULL},           {"box=-0.3:0.5", NULL},   {"box=0.1:0.6", NULL},   {"box=-0.5:-0.02", NULL},
    {"box=0:0.4", NULL},        {"box=:0", NULL},         {"max-norm=0.7", NULL},  {"l2-ball=1.2", NULL},
    {"l1-ball=2", NULL},        {"simplex=1.5", NULL},    {"sum=1", NULL},         {"sum=-3", NULL},
    {"linear=", NULL},          {"linear<", NULL},        {"nonneg", "l2-ball=1"}, {"nonneg", "l1-ball=1.2"},
    {"nonneg", "max-norm=0.5"}, {"box=-0.2:1", "nonneg"}, {"linear<far", NULL},    {"l1-ball=1000", NULL},
};
enum { SET_COUNT = sizeof SETS / sizeof SETS[0] };

static const struct regular REGULARS[] = {
    {.group_size = 4},
    {.l1 = 0.2, .group_size = 4},
    {.group = 0.3, .group_size = 4},
    {.group = 0.2, .group_size = 2},
    {.l1 = 0.1, .group = 0.2, .group_size = 4},
};
enum { REGULAR_COUNT = sizeof REGULARS / sizeof REGULARS[0] };

static void add_row(struct slice_job *job, const char *kind)
{
    char path[] = "/tmp/dp-joint-XXXXXX", text[64];
    dp_error err;
    FILE *file = fdopen(mkstemp(path), "w");
    cr_assert_not_null(file);
    fprintf(file, "%s %s 1:1 3:-2 4:0.5 9:1 20:3\n", strchr(kind, '<') ? "<=" : "=",
            strstr(kind, "far") ? "1000" : "-0.8");
    fclose(file);
    snprintf(text, sizeof text, "linear=%s", path);
    cr_assert_eq(constraints_add(&job->constraints, text, &err), DP_OK, "%s", err.text);
    remove(path);
}

static void add_constraint(struct slice_job *job, const char *text)
{
    dp_error err;
    if (!text)
        return;
    if (strncmp(text, "linear", 6) == 0)
        add_row(job, text);
    else
        cr_assert_eq(constraints_add(&job->constraints, text, &err), DP_OK, "%s", err.text);
}

static void constrain(struct slice_job *job, const struct pair *pair)
{
    dp_error err;
    add_constraint(job, pair->one);
    add_constraint(job, pair->other);
    cr_assert_eq(constraints_resolve(&job->constraints, &job->tensors, &err), DP_OK, "%s", err.text);
    cr_assert_eq(constraints_check(&job->constraints, &err), DP_OK, "%s", err.text);
}

/* The same constraints as the reference takes them, on the first `count` elements. */
static void tell_sets(const struct constraints *constraints, size_t count, size_t row, struct optimum *problem)
{
    problem->set_count = constraints->count;
    for (uint32_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        struct optimum_set *s = &problem->sets[i];
        *s = (struct optimum_set){
            .kind = constraint_name(c->kind), .lo = c->lo, .hi = c->hi, .arg = c->arg, .count = count};
        if (c->kind == CONSTRAINT_NONNEG)
            s->hi = INFINITY;
        s->row = c->kind == CONSTRAINT_MAX_NORM ? row : 0;
        if (c->kind == CONSTRAINT_SUM) {
            s->kind = "linear";
            s->equality = 1;
            for (size_t k = 0; k < count; k++)
                s->linear[k] = 1;
        }
        for (size_t e = 0; c->kind == CONSTRAINT_LINEAR && e < c->linear.rows[0].count; e++)
            s->linear[c->linear.rows[0].index[e]] = c->linear.rows[0].value[e];
        if (c->kind == CONSTRAINT_LINEAR) {
            s->count = 0;
            s->arg = c->linear.rows[0].bound;
            s->equality = c->linear.rows[0].equality;
        }
    }
}

/* ---- the operators ---- */

/* Two tensors of rows of 4 with strengths of their own, and one that is left alone. */
static struct slice_job operator_job(const struct regular *regular)
{
    dp_error err;
    const uint64_t shape[2] = {HALF / 4, 4}, free_elems = FREE;
    struct slice_job job = {.rule = &rule_sgd};
    cr_assert_eq(tensors_add(&job.tensors, "a", 2, shape, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "b", 2, shape, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "free", 1, &free_elems, INIT_ZEROS, 0, false, &err), DP_OK);
    job.regular[0] = job.regular[1] = *regular;
    job.regular[1].l1 /= 2;
    return job;
}

/* argmin sum (x - v)^2/(2 r) + R(x) in the sets. */
static double nearest(const struct slice_job *job, const float *v, const float *rates, double step, double *x)
{
    static struct optimum problem;
    problem = (struct optimum){.n = ALL, .group = job->regular[0].group, .group_size = 4};
    if (problem.group > 0)
        problem.group_size = job->regular[0].group_size;
    for (size_t i = 0; i < ALL; i++) {
        double r = rates ? (double)rates[i] : step;
        problem.h[i][i] = 1 / r;
        problem.b[i] = (double)v[i] / r;
        problem.l1[i] = i < 2 * HALF ? job->regular[i / HALF].l1 : 0;
    }
    tell_sets(&job->constraints, 2 * HALF, 4, &problem);
    /* groups are of the first two tensors: the third's elements are not penalized, and are on their own */
    if (problem.group > 0)
        problem.n = 2 * HALF;
    double worst = optimum_find(&problem, x);
    for (size_t i = problem.n; i < ALL; i++)
        x[i] = (double)v[i];
    return worst;
}

/* As the shards do it, but in one place. */
static void prox_by_steps(const struct slice_job *job, const float *rates, float *x)
{
    struct joint joints[3];
    struct joint_steps steps[3];
    for (uint32_t t = 0; t < 3; t++) {
        uint64_t first = tensors_offset(&job->tensors, t);
        joints[t] = joint_of(&job->constraints, &job->tensors, job->regular, t);
        steps[t] = (struct joint_steps){.each = rates + first};
        joint_here(&joints[t], &steps[t], (size_t)job->tensors.list[t].elems, x + first);
    }
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        const struct constraint *c = &job->constraints.list[i];
        struct joint_search search = {.done = !constraint_is_global(c)};
        if (search.done)
            continue;
        for (int rounds = 0; !search.done; rounds++) {
            double sums[JOINT_SUMS] = {0};
            for (uint32_t t = 0; t < 3; t++)
                if (c->mask >> t & 1)
                    joint_sums(&joints[t], c, &search, &steps[t], tensors_offset(&job->tensors, t),
                               (size_t)job->tensors.list[t].elems, x + tensors_offset(&job->tensors, t), sums);
            joint_round(c, &search, sums);
            cr_assert_lt(rounds, 60);
        }
        for (uint32_t t = 0; t < 3; t++)
            if (c->mask >> t & 1)
                joint_apply(&joints[t], c, &search, &steps[t], tensors_offset(&job->tensors, t),
                            (size_t)job->tensors.list[t].elems, x + tensors_offset(&job->tensors, t));
    }
}

static void draw(uint64_t round, float *v, float *rates)
{
    double size = pow(10, rng_uniform(21, RNG_STREAM_INIT, round, 1000) * 2 - 1);
    for (uint64_t i = 0; i < ALL; i++) {
        v[i] = (float)(size * rng_normal(21, RNG_STREAM_INIT, round, i));
        rates[i] = (float)pow(10, 3 * (double)rng_uniform(22, RNG_STREAM_INIT, round, i) - 2);
        if (round % 3 == 0 && i % 4 == 1)
            v[i] = 0;
    }
}

Test(joint, operators_are_the_nearest_points, .timeout = 300)
{
    int taken[2] = {0};
    for (size_t s = 0; s < SET_COUNT; s++)
        for (size_t r = 0; r < REGULAR_COUNT; r++)
            for (uint64_t round = 1; round <= 6; round++) {
                struct slice_job job = operator_job(&REGULARS[r]);
                float v[ALL], rates[ALL], x[ALL];
                double want[ALL];
                bool scales = round % 2 == 0;
                constrain(&job, &SETS[s]);
                if (joint_check(&job.constraints, &job.tensors, job.regular, scales ? "adam" : NULL, NULL) == DP_OK) {
                    taken[scales]++;
                    draw(round + 10 * s, v, rates);
                    memcpy(x, v, sizeof v);
                    double worst = nearest(&job, v, scales ? rates : NULL, 0.7, want);
                    cr_assert_leq(worst, 1e-9, "no certificate for %s, %zu: %g", SETS[s].one, r, worst);
                    if (scales)
                        prox_by_steps(&job, rates, x);
                    else
                        joint_prox(&job.constraints, &job.tensors, job.regular, 0.7, x);
                    for (int i = 0; i < ALL; i++)
                        cr_assert_float_eq((double)x[i], want[i], 2e-6 * (1 + fabs(want[i])),
                                           "%s %s, regularizer %zu, round %d, element %d: %.9g, not %.9g", SETS[s].one,
                                           SETS[s].other ? SETS[s].other : "", r, (int)round, i, (double)x[i], want[i]);
                }
                constraints_fini(&job.constraints);
            }
    cr_assert_eq(taken[0], SET_COUNT * REGULAR_COUNT * 3, "%d", taken[0]);
    cr_assert_eq(taken[1], SET_COUNT * 2 * 3 + 7 * 3 * 3, "with groups: elements only; %d", taken[1]);
    ASSERT_NO_LEAKS();
}

/* ---- where training ends ---- */

enum { D = 24 };

static struct cluster cluster;
static struct optimum problem;

static void make_problem(const struct slice_job *job)
{
    static double x[ROWS][D], y[ROWS];
    const struct regular *regular = &job->regular[0];
    problem = (struct optimum){.n = D, .group = regular->group, .group_size = regular->group_size};
    for (uint64_t r = 0; r < ROWS; r++) {
        y[r] = 0.3 * rng_normal(8, RNG_STREAM_INIT, r, 1000);
        for (uint64_t j = 0; j < D; j++) {
            x[r][j] = rng_normal(8, RNG_STREAM_INIT, r, j) * (j % 3 == 0 ? 0.5 : 1);
            y[r] += x[r][j] * (j < 6 ? 1.0 - 0.3 * (double)j : 0);
        }
    }
    for (int i = 0; i < D; i++) {
        for (int r = 0; r < ROWS; r++) {
            for (int j = 0; j < D; j++)
                problem.h[i][j] += x[r][i] * x[r][j] / ROWS;
            problem.b[i] += x[r][i] * y[r] / ROWS;
        }
        problem.h[i][i] += regular->l2;
        problem.l1[i] = regular->l1;
    }
    tell_sets(&job->constraints, D, 4, &problem);
}

/* Of two tensors, which constraints join. */
static struct slice_job train_job(const struct update_rule *rule, double lr, uint64_t steps,
                                  const struct regular *regular, const struct pair *pair)
{
    dp_error err;
    const uint64_t shape[2] = {D / 8, 4};
    struct slice_job job = {
        .plan = {.seed = 7, .train_rows = ROWS, .batch = ROWS, .train_steps = steps, .slots = 3},
        .rule = rule,
        .params = reference_params(rule, lr),
        .regular = {*regular, *regular},
        .constraints = {.beta = 1},
    };
    cr_assert_eq(tensors_add(&job.tensors, "a", 2, shape, INIT_NORMAL, 0.3F, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "b", 2, shape, INIT_NORMAL, 0.3F, true, &err), DP_OK);
    job.tensors.list[0].unit = job.tensors.list[1].unit = 4;
    constrain(&job, pair);
    return job;
}

/* Of the data loss alone: L2 is the rule's. */
static void gradient(const float *w, double l2, float *sum)
{
    for (int i = 0; i < D; i++) {
        double g = -problem.b[i] - l2 * (double)w[i];
        for (int j = 0; j < D; j++)
            g += problem.h[i][j] * (double)w[j];
        sum[i] = (float)(ROWS * g);
    }
}

static void train(struct slice_job *job, float *w)
{
    float sum[D];
    cluster_start(&cluster, job, 2, 8);
    cluster_theta(&cluster, 0, w);
    for (uint64_t t = 0; t < job->plan.train_steps; t++) {
        gradient(w, job->regular[0].l2, sum);
        cluster_step(&cluster, t, sum, t);
        cluster_theta(&cluster, t + 1, w);
    }
    cluster_stop(&cluster);
}

static double distance(const float *w, const double *want)
{
    double d = 0, n = 0;
    for (int j = 0; j < D; j++) {
        d += ((double)w[j] - want[j]) * ((double)w[j] - want[j]);
        n += want[j] * want[j];
    }
    return sqrt(d / fmax(n, 1e-2));
}

/* A row of table SETS with each kind of regularizer, L2 beside it. */
static struct regular with_l2(size_t r)
{
    struct regular regular = REGULARS[r];
    regular.l1 /= 2;
    regular.group /= 2;
    regular.l2 = 0.05;
    return regular;
}

/* The end depends neither on the rate nor on momentum. */
Test(joint, training_ends_at_the_optimum_of_each_pair, .timeout = 600)
{
    static const struct {
        const struct update_rule *rule;
        double lr, momentum;
        enum decay_kind decay;
    } RUNS[] = {{&rule_sgd, 0.3, 0, DECAY_COUPLED},
                {&rule_sgd, 0.1, 0, DECAY_DECOUPLED},
                {&rule_momentum, 0.03, 0.9, DECAY_COUPLED},
                {&rule_momentum, 0.1, 0.5, DECAY_DECOUPLED},
                {&rule_nesterov, 0.03, 0.9, DECAY_COUPLED}};
    for (size_t s = 0; s < SET_COUNT; s++)
        for (size_t r = 0; r < REGULAR_COUNT; r++)
            for (size_t k = 0; k < sizeof RUNS / sizeof RUNS[0]; k++) {
                struct regular regular = with_l2(r);
                struct slice_job job = train_job(RUNS[k].rule, RUNS[k].lr, 1500, &regular, &SETS[s]);
                float w[D];
                double want[D];
                job.params.momentum = RUNS[k].momentum;
                job.params.decay = RUNS[k].decay;
                make_problem(&job);
                cr_assert_leq(optimum_find(&problem, want), 1e-9, "no certificate for %s, %zu", SETS[s].one, r);
                train(&job, w);
                cr_assert_leq(distance(w, want), 1e-5, "%s %s, regularizer %zu, %s, lr %g: %g", SETS[s].one,
                              SETS[s].other ? SETS[s].other : "", r, RUNS[k].rule->name, RUNS[k].lr, distance(w, want));
                constraints_fini(&job.constraints);
            }
    ASSERT_NO_LEAKS();
}

/* Rules that scale steps: F - F* relative to F at 0, which a Euclidean projection leaves at 1e-2 and more. LAMB's steps
 * are as long as a tensor's norm, so that one that shall be 0 takes its time. */
static void ends_at_the_optimum(const struct update_rule *rule, double lr, double close, size_t s, size_t r)
{
    const char *other = SETS[s].other ? SETS[s].other : "", *scales = rule->rates ? rule->name : NULL;
    struct regular regular = REGULARS[r];
    regular.l1 /= 2;
    regular.group /= 2;
    struct slice_job job = train_job(rule, lr, 2000, &regular, &SETS[s]);
    float w[D];
    double want[D], got[D], zero[D] = {0};
    job.params.schedule.kind = SCHEDULE_COSINE;
    job.params.schedule.period = 2000;
    job.params.trust = 0.1;
    bool proximal = regular.l1 > 0 || regular.group > 0;
    if ((rule->layerwise && proximal) || joint_check(&job.constraints, &job.tensors, job.regular, scales, NULL)) {
        constraints_fini(&job.constraints);
        return;
    }
    make_problem(&job);
    cr_assert_leq(optimum_find(&problem, want), 1e-9, "no certificate for %s %s, %zu", SETS[s].one, other, r);
    train(&job, w);
    for (int j = 0; j < D; j++)
        got[j] = (double)w[j];
    double best = optimum_value(&problem, want), size = fabs(best - optimum_value(&problem, zero));
    double gap = (optimum_value(&problem, got) - best) / fmax(size, 0.05);
    cr_assert(fabs(gap) <= close && distance(w, want) <= 20 * sqrt(close),
              "%s %s, regularizer %zu, %s: gap %g, distance %g", SETS[s].one, other, r, rule->name, gap,
              distance(w, want));
    constraints_fini(&job.constraints);
}

Test(joint, rules_that_scale_steps_end_at_the_optimum, .timeout = 600)
{
    static const struct {
        const struct update_rule *rule;
        double lr, close;
    } RUNS[] = {{&rule_adagrad, 0.5, 2e-6}, {&rule_rmsprop, 0.02, 2e-6}, {&rule_adam, 0.02, 2e-6},
                {&rule_adamw, 0.02, 2e-6},  {&rule_lars, 0.2, 2e-6},     {&rule_lamb, 0.02, 5e-4}};
    for (size_t s = 0; s < SET_COUNT; s++)
        for (size_t r = 0; r < REGULAR_COUNT; r++)
            for (size_t k = 0; k < sizeof RUNS / sizeof RUNS[0]; k++)
                ends_at_the_optimum(RUNS[k].rule, RUNS[k].lr, RUNS[k].close, s, r);
    ASSERT_NO_LEAKS();
}

/* ---- rounds ---- */

enum { MANY = 100000 };

static int rounds_of(struct slice_job *job, const float *rates, float *w)
{
    struct joint joint = joint_of(&job->constraints, &job->tensors, job->regular, 0);
    struct joint_steps steps = {.each = rates, .all = 1};
    struct joint_search search = {0};
    int rounds = 0;
    for (; !search.done; rounds++) {
        double sums[JOINT_SUMS] = {0};
        joint_sums(&joint, &job->constraints.list[0], &search, &steps, 0, MANY, w, sums);
        joint_round(&job->constraints.list[0], &search, sums);
    }
    return rounds;
}

/* Each round is a message to the head and back: few do, also where step sizes differ by 1e8, and bad numbers end. */
Test(joint, rounds_are_few, .timeout = 120)
{
    static const char *const TEXTS[] = {"l2-ball=3", "l1-ball=20", "simplex=5", "sum=0.1"};
    float *w = malloc(MANY * sizeof *w), *rates = malloc(MANY * sizeof *rates);
    for (size_t c = 0; c < sizeof TEXTS / sizeof TEXTS[0]; c++)
        for (int kind = 0; kind < 4; kind++) {
            dp_error err;
            const uint64_t elems = MANY;
            bool groups = kind == 1;
            struct slice_job job = {.regular = {{.l1 = 0.5, .group = groups ? 0.5 : 0, .group_size = 4}}};
            cr_assert_eq(tensors_add(&job.tensors, "w", 1, &elems, INIT_ZEROS, 0, true, &err), DP_OK);
            constrain(&job, &(struct pair){TEXTS[c], NULL});
            for (uint64_t i = 0; i < MANY; i++) {
                w[i] = rng_normal(31, RNG_STREAM_INIT, c, i);
                rates[i] = (float)pow(10, -8 * (double)rng_uniform(32, RNG_STREAM_INIT, c, i));
            }
            w[7] = kind == 3 ? NAN : w[7];
            int rounds = rounds_of(&job, groups ? NULL : rates, w);
            cr_assert_leq(rounds, 30, "%s, %d: %d rounds", TEXTS[c], kind, rounds);
            constraints_fini(&job.constraints);
        }
    free(w);
    free(rates);
    ASSERT_NO_LEAKS();
}

/* ---- stationarity ---- */

/* theta - P(prox(theta - gradient)) at the certified optimum, rounded to float. */
static double stationarity_at(const struct constraints *constraints, const struct tensors *tensors,
                              const struct regular *regular, const double *w, const double *gradient)
{
    struct model_terms terms = {.constraints = *constraints,
                                .regularizers = {.l1 = {.count = 1, .list = {{.value = regular->l1}}},
                                                 .l2 = {.count = 1, .list = {{.value = regular->l2}}},
                                                 .group = {.count = 1, .list = {{.value = regular->group}}},
                                                 .group_size = regular->group_size}};
    struct terms_result result;
    dp_error err;
    float theta[D];
    double g[D];
    for (int j = 0; j < D; j++) {
        theta[j] = (float)w[j];
        g[j] = gradient[j];
    }
    cr_assert_eq(model_terms_measure(&terms, tensors, theta, g, &result, &err), DP_OK, "%s", err.text);
    return result.stationarity;
}

Test(joint, stationarity_is_zero_at_the_optimum_and_nowhere_else, .timeout = 120)
{
    for (size_t s = 0; s < SET_COUNT; s++)
        for (size_t r = 0; r < REGULAR_COUNT; r++) {
            struct regular regular = with_l2(r);
            struct slice_job job = train_job(&rule_sgd, 0.1, 1, &regular, &SETS[s]);
            double w[D], g[D];
            make_problem(&job);
            cr_assert_leq(optimum_find(&problem, w), 1e-9);
            for (int away = 0; away < 2; away++) {
                w[2] += away * 0.05;
                for (int i = 0; i < D; i++) {
                    g[i] = -problem.b[i] - regular.l2 * w[i];
                    for (int j = 0; j < D; j++)
                        g[i] += problem.h[i][j] * w[j];
                }
                double found = stationarity_at(&job.constraints, &job.tensors, &regular, w, g);
                cr_assert(away ? found > 1e-4 : found <= 1e-6, "%s, regularizer %zu, away %d: %g", SETS[s].one, r, away,
                          found);
            }
            constraints_fini(&job.constraints);
        }
    ASSERT_NO_LEAKS();
}

/* Rows on the sphere, with a gradient that points out of it by more than the step is long. */
Test(joint, stationarity_on_the_sphere)
{
    struct slice_job job = train_job(&rule_sgd, 0.1, 1, &REGULARS[0], &(struct pair){"unit-norm", NULL});
    double w[D], g[D];
    for (int i = 0; i < D; i++) {
        w[i] = i % 4 == 1 ? 0.8 : i % 4 == 3 ? -0.6 : 0;
        g[i] = (i < 12 ? 5 : -5) * w[i];
    }
    cr_assert_leq(stationarity_at(&job.constraints, &job.tensors, &REGULARS[0], w, g), 1e-6);
    g[0] += 0.1;
    cr_assert_geq(stationarity_at(&job.constraints, &job.tensors, &REGULARS[0], w, g), 0.05);
    constraints_fini(&job.constraints);
}

/* It is not known where terms have no joint operator: not a number rather than a wrong one. */
Test(joint, stationarity_that_is_not_known)
{
    static const struct pair NONE[] = {{"box=-1:1", "l2-ball=1"}, {"unit-norm", NULL}};
    for (size_t i = 0; i < sizeof NONE / sizeof NONE[0]; i++) {
        struct slice_job job = train_job(&rule_sgd, 0.1, 1, &REGULARS[1], &(struct pair){"nonneg", NULL});
        double w[D] = {0}, g[D] = {0};
        dp_error err;
        constraints_fini(&job.constraints);
        add_constraint(&job, NONE[i].one);
        add_constraint(&job, NONE[i].other);
        cr_assert_eq(constraints_resolve(&job.constraints, &job.tensors, &err), DP_OK);
        cr_assert(isnan(stationarity_at(&job.constraints, &job.tensors, &REGULARS[1], w, g)), "%s", NONE[i].one);
        constraints_fini(&job.constraints);
    }
}
