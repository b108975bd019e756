/* The ends of training: least-squares problems whose solutions are known from linear systems or from their conditions
 * of Karush, Kuhn and Tucker, by full-batch steps through shards. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/util.h"
#include "common/terms/constraint_text.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/reference.h"

enum { D = 24, ROWS = 96 };

static struct cluster cluster;
static double x[ROWS][D], y[ROWS];

/* Rows with columns of different scales, condition number of X'X/n about 30. */
static void make_data(void)
{
    for (uint64_t r = 0; r < ROWS; r++) {
        y[r] = 0.3 * rng_normal(8, RNG_STREAM_INIT, r, 1000);
        for (uint64_t j = 0; j < D; j++) {
            x[r][j] = rng_normal(8, RNG_STREAM_INIT, r, j) * (j % 3 == 0 ? 0.5 : 1);
            y[r] += x[r][j] * (j < 6 ? 1.0 - 0.3 * (double)j : 0);
        }
    }
}

static double residual(uint64_t r, const float *w)
{
    double e = -y[r];
    for (int j = 0; j < D; j++)
        e += x[r][j] * w[j];
    return e;
}

/* Sum over rows of the gradient of (x w - y)^2 / 2. */
static void gradient(const float *w, float *sum)
{
    double g[D] = {0};
    for (uint64_t r = 0; r < ROWS; r++)
        for (int j = 0; j < D; j++)
            g[j] += residual(r, w) * x[r][j];
    for (int j = 0; j < D; j++)
        sum[j] = (float)g[j];
}

static struct shard_job make_job(const struct update_rule *rule, double lr, uint64_t steps)
{
    dp_error err;
    uint64_t shape[2] = {D / 4, 4};
    struct shard_job job = {
        .plan = {.seed = 7, .train_rows = ROWS, .batch = ROWS, .train_steps = steps, .slots = 3},
        .rule = rule,
        .params = reference_params(rule, lr),
        .constraints = {.beta = 1, .rho_max = 16, .tolerance = 1e-7, .every = 50},
    };
    make_data();
    cr_assert_eq(tensors_add(&job.tensors, "weight", 2, shape, INIT_ZEROS, 0, true, &err), DP_OK);
    return job;
}

static void constrain(struct shard_job *job, const char *text)
{
    dp_error err;
    cr_assert_eq(constraints_add(&job->constraints, text, &err), DP_OK, "%s", err.text);
    cr_assert_eq(constraints_resolve(&job->constraints, &job->tensors, &err), DP_OK, "%s", err.text);
    for (uint32_t i = 0; i < job->constraints.count; i++)
        job->tensors.list[0].unit =
            MAX(job->tensors.list[0].unit, constraint_unit(&job->constraints.list[i], &job->tensors.list[0]));
}

static void train(struct shard_job *job, float *w)
{
    float sum[D];
    cluster_start(&cluster, job, 2, 16);
    memset(w, 0, D * sizeof *w);
    for (uint64_t t = 0; t < job->plan.train_steps; t++) {
        gradient(w, sum);
        cluster_step(&cluster, t, sum, t);
        cluster_theta(&cluster, t + 1, w);
    }
    cluster_stop(&cluster);
}

/* Solves a[n][n + 1] in place; the solution to s. */
static void solve(int n, double a[D + 2][D + 3], double *s)
{
    for (int c = 0; c < n; c++) {
        int p = c;
        for (int r = c; r < n; r++)
            p = fabs(a[r][c]) > fabs(a[p][c]) ? r : p;
        for (int k = 0; k <= n; k++) {
            double swap = a[c][k];
            a[c][k] = a[p][k];
            a[p][k] = swap;
        }
        for (int r = 0; r < n; r++) {
            double f = r == c ? 0 : a[r][c] / a[c][c];
            for (int k = c; k <= n; k++)
                a[r][k] -= f * a[c][k];
        }
    }
    for (int c = 0; c < n; c++)
        s[c] = a[c][n] / a[c][c];
}

static void normal_equations(double l2, double a[D + 2][D + 3], int width)
{
    memset(a, 0, (D + 2) * sizeof *a);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < D; i++) {
            for (int j = 0; j < D; j++)
                a[i][j] += x[r][i] * x[r][j] / ROWS;
            a[i][width] += x[r][i] * y[r] / ROWS;
        }
    for (int i = 0; i < D; i++)
        a[i][i] += l2;
}

static double relative(const float *w, const double *want)
{
    double d = 0, n = 0;
    for (int j = 0; j < D; j++) {
        d += (w[j] - want[j]) * (w[j] - want[j]);
        n += want[j] * want[j];
    }
    return sqrt(d / n);
}

Test(optima, ridge_is_its_closed_form)
{
    static const struct update_rule *const SOME[] = {&rule_sgd, &rule_momentum, &rule_nesterov, &rule_adagrad};
    static const double LRS[] = {0.3, 0.05, 0.05, 0.5};
    for (size_t i = 0; i < sizeof SOME / sizeof SOME[0]; i++) {
        struct shard_job job = make_job(SOME[i], LRS[i], 3000);
        float w[D];
        double a[D + 2][D + 3], want[D];
        job.regular[0].l2 = 0.1;
        train(&job, w);
        normal_equations(0.1, a, D);
        solve(D, a, want);
        cr_assert_leq(relative(w, want), 1e-5, "%s: %g", SOME[i]->name, relative(w, want));
    }
}

/* Mean gradient of the data loss. */
static void mean_gradient(const float *w, double *g)
{
    float sum[D];
    gradient(w, sum);
    for (int j = 0; j < D; j++)
        g[j] = (double)sum[j] / ROWS;
}

/* w_j != 0: g_j = -l1 sgn w_j; w_j = 0: |g_j| <= l1. Under momentum this holds for the effective step only. */
Test(optima, lasso_meets_its_conditions)
{
    static const struct update_rule *const SOME[] = {&rule_sgd,     &rule_momentum, &rule_nesterov,
                                                     &rule_adagrad, &rule_adam,     &rule_ftrl};
    static const double LRS[] = {0.3, 0.05, 0.05, 0.5, 0.002, 2};
    static const double CLOSE[] = {1e-5, 1e-5, 1e-5, 1e-5, 1e-3, 1e-3};
    for (size_t i = 0; i < sizeof SOME / sizeof SOME[0]; i++) {
        struct shard_job job = make_job(SOME[i], LRS[i], SOME[i] == &rule_ftrl ? 20000 : 4000);
        float w[D];
        double g[D], l1 = 0.15, l2 = 0.02;
        int zeros = 0;
        job.regular[0] = (struct regular){.l1 = l1, .l2 = l2, .group_size = 1};
        train(&job, w);
        mean_gradient(w, g);
        for (int j = 0; j < D; j++) {
            double s = g[j] + l2 * w[j];
            zeros += w[j] == 0;
            if (w[j] != 0)
                cr_assert_leq(fabs(s + copysign(l1, w[j])), CLOSE[i], "%s: %d: %g", SOME[i]->name, j, s);
            else
                cr_assert_leq(fabs(s), l1 + CLOSE[i], "%s: %d: %g", SOME[i]->name, j, s);
        }
        cr_assert(zeros > 5 && zeros < D - 3, "%s: %d zeros", SOME[i]->name, zeros);
    }
}

/* A group is zero exactly where the norm of its gradient is at most lambda; else g = -lambda w/|w|. */
Test(optima, group_lasso_meets_its_conditions)
{
    static const struct update_rule *const SOME[] = {&rule_momentum, &rule_adagrad};
    for (size_t i = 0; i < 2; i++) {
        struct shard_job job = make_job(SOME[i], i ? 0.5 : 0.05, 4000);
        float w[D];
        double g[D], lambda = 0.3;
        int zeros = 0;
        job.regular[0] = (struct regular){.group = lambda, .group_size = 4};
        job.tensors.list[0].unit = 4;
        train(&job, w);
        mean_gradient(w, g);
        for (int at = 0; at < D; at += 4) {
            double norm = 0, pull = 0, gap = 0;
            for (int j = at; j < at + 4; j++)
                norm += (double)w[j] * w[j];
            norm = sqrt(norm);
            for (int j = at; j < at + 4; j++) {
                pull += g[j] * g[j];
                gap += norm > 0 ? pow(g[j] + lambda * w[j] / norm, 2) : 0;
            }
            zeros += norm == 0;
            if (norm > 0)
                cr_assert_leq(sqrt(gap), 1e-4, "%s: group %d: %g", SOME[i]->name, at / 4, sqrt(gap));
            else
                cr_assert_leq(sqrt(pull), lambda + 1e-4);
        }
        cr_assert(zeros > 0 && zeros < D / 4, "%s: %d groups are zero", SOME[i]->name, zeros);
    }
}

/* min f over {w >= 0, sum w = s}: g_j = nu where w_j > 0, g_j >= nu where w_j = 0. */
Test(optima, simplex_meets_its_conditions)
{
    struct shard_job job = make_job(&rule_sgd, 0.3, 4000);
    float w[D];
    double g[D], sum = 0, nu = 0, mass = 0;
    constrain(&job, "simplex=1.5");
    train(&job, w);
    mean_gradient(w, g);
    for (int j = 0; j < D; j++) {
        cr_assert_geq(w[j], 0);
        sum += w[j];
        nu += w[j] > 0 ? g[j] * w[j] : 0;
        mass += w[j];
    }
    nu /= mass;
    cr_assert_float_eq(sum, 1.5, 1e-6);
    for (int j = 0; j < D; j++)
        cr_assert(w[j] > 0 ? fabs(g[j] - nu) <= 1e-5 : g[j] >= nu - 1e-5, "%d: w %g, g %g, nu %g", j, (double)w[j],
                  g[j], nu);
    constraints_fini(&job.constraints);
}

/* The projected gradient vanishes: w = P(w - g). */
Test(optima, box_and_balls_are_stationary)
{
    static const char *const TEXTS[] = {"box=-0.2:0.4", "nonneg", "l2-ball=0.7", "l1-ball=1.2", "max-norm=0.5"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        struct shard_job job = make_job(&rule_sgd, 0.3, 4000);
        float w[D], moved[D];
        double g[D];
        constrain(&job, TEXTS[i]);
        train(&job, w);
        mean_gradient(w, g);
        for (int j = 0; j < D; j++)
            moved[j] = (float)(w[j] - g[j]);
        if (i == 0)
            kernels_get()->clamp(D, -0.2F, 0.4F, moved);
        else if (i == 1)
            kernels_get()->clamp(D, 0, INFINITY, moved);
        else if (i == 2)
            project_l2_ball(D, 0.7, moved);
        else if (i == 3)
            project_l1_ball(D, 1.2, moved);
        else
            project_max_norm(D, 4, 0.5, moved);
        for (int j = 0; j < D; j++)
            cr_assert_float_eq(w[j], moved[j], 1e-5, "%s: %d", TEXTS[i], j);
        constraints_fini(&job.constraints);
    }
}

/* min f with sum w = 2 and w_1 - 2 w_2 + w_24 = 0.5: the solution and the multipliers of its linear system. */
Test(optima, augmented_lagrangian_finds_the_solution_and_its_multipliers)
{
    struct shard_job job = make_job(&rule_momentum, 0.005, 6000);
    char path[] = "/tmp/dp-linear-XXXXXX", text[64];
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");
    cr_assert_not_null(file);
    fprintf(file, "# two equalities\n= 0.5 1:1 2:-2 24:1\n\n= 2");
    for (int j = 1; j <= D; j++)
        fprintf(file, " %d:1", j);
    fprintf(file, "\n<= 100 1:1\n");
    fclose(file);
    snprintf(text, sizeof text, "linear=%s", path);
    job.constraints.method = METHOD_AUGMENTED;
    job.constraints.rho_max = 4;
    constrain(&job, text);
    remove(path);
    float w[D];
    double a[D + 2][D + 3], want[D + 2], sum = 0;
    train(&job, w);
    normal_equations(0, a, D + 2);
    for (int j = 0; j < D; j++)
        a[j][D + 1] = a[D + 1][j] = 1;
    a[0][D] = a[D][0] = a[D - 1][D] = a[D][D - 1] = 1;
    a[1][D] = a[D][1] = -2;
    a[D][D + 2] = 0.5;
    a[D + 1][D + 2] = 2;
    solve(D + 2, a, want);
    for (int j = 0; j < D; j++)
        sum += w[j];
    cr_assert_float_eq(sum, 2, 1e-6, "%g", sum - 2);
    cr_assert_float_eq((double)w[0] - 2 * (double)w[1] + (double)w[D - 1], 0.5, 1e-6);
    cr_assert_leq(relative(w, want), 1e-5, "%g", relative(w, want));
    constraints_fini(&job.constraints);
    ASSERT_NO_LEAKS();
}

/* A penalty of weight beta leaves c = -multiplier/beta. */
Test(optima, penalty_comes_as_close_as_its_weight)
{
    double gaps[2];
    for (int i = 0; i < 2; i++) {
        struct shard_job job = make_job(&rule_sgd, 0.02, 20000);
        float w[D];
        double sum = 0;
        job.constraints.method = METHOD_PENALTY;
        job.constraints.beta = i ? 2 : 1;
        constrain(&job, "sum=3");
        train(&job, w);
        for (int j = 0; j < D; j++)
            sum += w[j];
        gaps[i] = fabs(sum - 3);
        constraints_fini(&job.constraints);
    }
    cr_assert(gaps[0] > 1e-4 && gaps[1] < 0.7 * gaps[0], "%g, %g", gaps[0], gaps[1]);
}

/* FTRL without regularization is online gradient descent with the rates alpha/(beta + root of the sum of squares). */
Test(optima, ftrl_is_online_gradient_descent)
{
    struct shard_job job = make_job(&rule_ftrl, 0.3, 100);
    float w[D] = {0}, sum[D];
    double o[D] = {0}, squares[D] = {0};
    cluster_start(&cluster, &job, 1, 1 << 20);
    for (uint64_t t = 0; t < job.plan.train_steps; t++) {
        gradient(w, sum);
        for (int j = 0; j < D; j++) {
            double g = (double)sum[j] / ROWS;
            squares[j] += g * g;
            o[j] -= 0.3 / (1 + sqrt(squares[j])) * g;
        }
        cluster_step(&cluster, t, sum, t);
        cluster_theta(&cluster, t + 1, w);
        for (int j = 0; j < D; j++)
            cr_assert_float_eq(w[j], o[j], 2e-6, "step %d, %d", (int)t, j);
    }
    cluster_stop(&cluster);
}
