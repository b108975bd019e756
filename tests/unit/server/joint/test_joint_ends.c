/* Training with regularizers and projected constraints ends, under each rule, at optima that are certified in double
 * precision (optimum.h), and `eval` finds it stationary there. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/terms/constraint_text.h"
#include "common/terms/joint.h"
#include "common/terms/joint_check.h"
#include "common/terms/regularize_text.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/joint_cases.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/reference.h"
#include "worker/model/terms.h"

enum { ROWS = 96 };

enum { D = 24 };

static struct cluster cluster;
static struct optimum problem;

static void make_problem(const struct shard_job *job)
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

/* A job of two tensors, which constraints join. */
static struct shard_job train_job(const struct update_rule *rule, double lr, uint64_t steps,
                                  const struct regular *regular, const struct pair *pair)
{
    dp_error err;
    const uint64_t shape[2] = {D / 8, 4};
    struct shard_job job = {
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

/* The gradient of the data loss alone: L2 is the rule's. */
static void gradient(const float *w, double l2, float *sum)
{
    for (int i = 0; i < D; i++) {
        double g = -problem.b[i] - l2 * (double)w[i];
        for (int j = 0; j < D; j++)
            g += problem.h[i][j] * (double)w[j];
        sum[i] = (float)(ROWS * g);
    }
}

static void train(struct shard_job *job, float *w)
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
Test(joint_ends, training_ends_at_the_optimum_of_each_pair, .timeout = 600)
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
                struct shard_job job = train_job(RUNS[k].rule, RUNS[k].lr, 1500, &regular, &SETS[s]);
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
    struct shard_job job = train_job(rule, lr, 2000, &regular, &SETS[s]);
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

Test(joint_ends, rules_that_scale_steps_end_at_the_optimum, .timeout = 600)
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

Test(joint_ends, stationarity_is_zero_at_the_optimum_and_nowhere_else, .timeout = 120)
{
    for (size_t s = 0; s < SET_COUNT; s++)
        for (size_t r = 0; r < REGULAR_COUNT; r++) {
            struct regular regular = with_l2(r);
            struct shard_job job = train_job(&rule_sgd, 0.1, 1, &regular, &SETS[s]);
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
Test(joint_ends, stationarity_on_the_sphere)
{
    struct shard_job job = train_job(&rule_sgd, 0.1, 1, &REGULARS[0], &(struct pair){"unit-norm", NULL});
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
Test(joint_ends, stationarity_that_is_not_known)
{
    static const struct pair NONE[] = {{"box=-1:1", "l2-ball=1"}, {"unit-norm", NULL}};
    for (size_t i = 0; i < sizeof NONE / sizeof NONE[0]; i++) {
        struct shard_job job = train_job(&rule_sgd, 0.1, 1, &REGULARS[1], &(struct pair){"nonneg", NULL});
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
