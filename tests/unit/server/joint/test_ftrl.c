/* FTRL under L1 in the long run: after 200,000 commits theta is at the optimum, which is certified in double precision,
 * though z and t lambda have grown with every one of them; the same bits for any number of shards and as a table, whose
 * rows are left alone for long. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/util.h"
#include "server/table/part.h"
#include "server/table/read.h"
#include "server/update/catchup.h"
#include "tests/unit/support/cluster.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/reference.h"

enum { D = 24, RARE = 4, ELEMS = D + RARE, ROWS = 96, STEPS = 200000, RARE_EVERY = 997 };

static struct cluster cluster;
static double x[ROWS][D], y[ROWS], hessian[D][D], moment[D];

/* Least squares with columns of different scales; the mean loss is w'Hw/2 - m'w and a constant. */
static void make_data(void)
{
    memset(hessian, 0, sizeof hessian);
    memset(moment, 0, sizeof moment);
    for (uint64_t r = 0; r < ROWS; r++) {
        y[r] = 0.3 * rng_normal(8, RNG_STREAM_INIT, r, 1000);
        for (uint64_t j = 0; j < D; j++) {
            x[r][j] = rng_normal(8, RNG_STREAM_INIT, r, j) * (j % 3 == 0 ? 0.5 : 1);
            y[r] += x[r][j] * (j < 6 ? 1.0 - 0.3 * (double)j : 0);
        }
        for (int i = 0; i < D; i++) {
            moment[i] += x[r][i] * y[r] / ROWS;
            for (int j = 0; j < D; j++)
                hessian[i][j] += x[r][i] * x[r][j] / ROWS;
        }
    }
}

static double slope(const double *w, int j)
{
    double g = -moment[j];
    for (int k = 0; k < D; k++)
        g += hessian[j][k] * w[k];
    return g;
}

/* By coordinate descent in double. */
static void solve(const struct regular *regular, double *w)
{
    memset(w, 0, D * sizeof *w);
    for (int sweep = 0; sweep < 5000; sweep++)
        for (int j = 0; j < D; j++) {
            double v = hessian[j][j] * w[j] - slope(w, j), m = fabs(v) - regular->l1;
            w[j] = m <= 0 ? 0 : copysign(m, v) / (hessian[j][j] + regular->l2);
        }
}

/* H - mu I has a Cholesky factor, so that the loss has at least the curvature mu. */
static bool curved(double mu)
{
    double l[D][D] = {{0}};
    for (int i = 0; i < D; i++)
        for (int j = 0; j <= i; j++) {
            double s = hessian[i][j] - (i == j ? mu : 0);
            for (int k = 0; k < j; k++)
                s -= l[i][k] * l[j][k];
            if (i == j && s <= 0)
                return false;
            l[i][j] = i == j ? sqrt(s) : s / l[j][j];
        }
    return true;
}

/* w is within |residual of the conditions|/mu of the optimum, far below what is measured against it. */
static void certify(const struct regular *regular, const double *w)
{
    const double mu = 0.01;
    double squares = 0;
    cr_assert(curved(mu));
    for (int j = 0; j < D; j++) {
        double g = slope(w, j) + regular->l2 * w[j];
        double gap = w[j] == 0 ? fmax(fabs(g) - regular->l1, 0) : fabs(g + copysign(regular->l1, w[j]));
        squares += gap * gap;
    }
    cr_assert_leq(sqrt(squares) / mu, 1e-11);
}

/* The sum over the samples; the rare elements have a gradient in one of RARE_EVERY steps. */
static void gradient(const float *w, uint64_t t, float *sum)
{
    double point[D];
    for (int j = 0; j < D; j++)
        point[j] = (double)w[j];
    for (int j = 0; j < D; j++)
        sum[j] = (float)(ROWS * slope(point, j));
    for (int j = 0; j < RARE; j++)
        sum[D + j] = t % RARE_EVERY == 0 ? (float)(ROWS * 100 * (j + 1)) : 0;
}

static struct shard_job make_job(const struct regular *regular, enum tensor_kind kind)
{
    const uint64_t elems = ELEMS, shape[] = {ELEMS, 1};
    struct shard_job job = {
        .plan = {.seed = 7, .train_rows = ROWS, .batch = ROWS, .train_steps = STEPS, .slots = 1},
        .rule = &rule_ftrl,
        .params = reference_params(&rule_ftrl, 2),
        .regular = {*regular},
    };
    make_data();
    cr_assert_eq(kind == TENSOR_DENSE ? tensors_add(&job.tensors, "w", 1, &elems, INIT_ZEROS, 0, true, NULL)
                                      : tensors_add_table(&job.tensors, "w", kind, 2, shape, INIT_ZEROS, 0, true, NULL),
                 DP_OK);
    return job;
}

static void train_dense(const struct regular *regular, uint32_t shards, uint64_t slice_elems, float *w)
{
    struct shard_job job = make_job(regular, TENSOR_DENSE);
    float sum[ELEMS];
    cluster_start(&cluster, &job, shards, slice_elems);
    memset(w, 0, ELEMS * sizeof *w);
    for (uint64_t t = 0; t < STEPS; t++) {
        gradient(w, t, sum);
        cluster_step(&cluster, t, sum, t);
        cluster_theta(&cluster, t + 1, w);
    }
    cluster_stop(&cluster);
}

/* The rows that have a gradient in a step. */
static struct rowsum rows_of(uint64_t t, const float *sum)
{
    uint32_t n = t % RARE_EVERY == 0 ? ELEMS : D;
    struct rowlist *list = rowlist_new(n);
    float *values = mem_array(n, sizeof *values);
    cr_assert(list && values);
    for (uint32_t i = 0; i < n; i++)
        list->ids[i] = i;
    memcpy(values, sum, n * sizeof *values);
    return (struct rowsum){list, {values, n * sizeof *values, values, free}};
}

static void train_table(const struct regular *regular, float *w)
{
    struct shard_job job = make_job(regular, TENSOR_TABLE);
    struct rowlist *all = rowlist_new(ELEMS);
    struct part part;
    float sum[ELEMS];
    dp_error err;
    cr_assert_eq(part_init(&part, &job, (struct part_range){0, 0, ELEMS - 1}, &err), DP_OK);
    for (uint32_t i = 0; i < ELEMS; i++)
        all->ids[i] = i;
    memset(w, 0, ELEMS * sizeof *w);
    for (uint64_t t = 0; t < STEPS; t++) {
        struct metrics m = {ROWS, 0, 0};
        gradient(w, t, sum);
        struct rowsum rows = rows_of(t, sum);
        table_find(&part.table, rows.list);
        (void)part_push(&part, t, part.window.leaves, &rows, &m);
        cr_assert_eq(part_commit(&part, &m, &err), DP_OK);
        free(part_report_take(&part, t)); /* each step is an epoch */
        part_release_before(&part, t + 1);
        cr_assert_eq(part_read(&part, t + 1, all, w), DP_OK);
    }
    rowlist_release(&all);
    part_fini(&part);
}

static void check(const struct regular *regular)
{
    static const struct {
        uint32_t shards;
        uint64_t slice_elems;
    } LAYOUTS[] = {{2, 8}, {5, 1 << 20}};
    double want[D], worst = 0;
    float w[ELEMS], other[ELEMS];
    int zeros = 0;
    train_dense(regular, 1, 1 << 20, w);
    solve(regular, want);
    certify(regular, want);
    for (int j = 0; j < D; j++) {
        worst = fmax(worst, fabs((double)w[j] - want[j]));
        zeros += w[j] == 0;
        cr_assert_eq(w[j] == 0, want[j] == 0, "%d: %g, not %g", j, (double)w[j], want[j]);
    }
    cr_assert_leq(worst, 5e-7, "l1 %g, l2 %g: %g", regular->l1, regular->l2, worst);
    cr_assert(zeros > 3 && zeros < D - 3, "%d zeros", zeros);
    cr_assert_neq(w[ELEMS - 1], 0, "the rare elements are there");
    for (size_t l = 0; l < ARRAY_LEN(LAYOUTS); l++) {
        train_dense(regular, LAYOUTS[l].shards, LAYOUTS[l].slice_elems, other);
        cr_assert_arr_eq(other, w, sizeof w, "%u shards", LAYOUTS[l].shards);
    }
    train_table(regular, other);
    cr_assert_arr_eq(other, w, sizeof w, "a table");
}

Test(ftrl, l1_is_at_its_optimum_after_200000_commits, .timeout = 300)
{
    check(&(struct regular){.l1 = 0.15});
    ASSERT_NO_LEAKS();
}

Test(ftrl, elastic_net_is_at_its_optimum_after_200000_commits, .timeout = 300)
{
    check(&(struct regular){.l1 = 0.15, .l2 = 0.02});
    ASSERT_NO_LEAKS();
}

/* z as two floats loses at most |z| 2^-49 in a commit; the sum of all sigma is the root of what is stored. */
Test(ftrl, state_keeps_what_one_float_would_lose)
{
    const struct regular none = {0};
    struct update_params params = reference_params(&rule_ftrl, 0.5);
    float w = 3, g = 1e-4F, z, squares = 1e4F, low;
    float *const state[UPDATE_STATE_MAX] = {&z, &squares, &low};
    rule_ftrl.start(1, &params, &w, state);
    cr_assert_eq(z, -6);
    cr_assert_eq(low, 0);
    z = -1e6F;
    low = 0;
    for (uint64_t t = 0; t < 1000; t++) {
        struct kernel_update k = update_at(&rule_ftrl, &params, &none, 0.5, t, 1);
        rule_ftrl.step(1, &k, &w, &g, state, &w);
    }
    cr_assert_eq(squares, 1e4F, "g^2 is less than half an ulp of it, so that no sigma is more than 0");
    cr_assert_float_eq((double)z + (double)low, -1e6 + 1000 * (double)g, 1000 * 1e6 * 0x1p-49);
}

/* The first value that no float has: start keeps all of it. */
Test(ftrl, theta_0_is_kept_to_the_bit)
{
    const struct regular none = {0};
    struct update_params params = reference_params(&rule_ftrl, 0.3);
    float g = 0, z, squares = 0, low;
    float *const state[UPDATE_STATE_MAX] = {&z, &squares, &low};
    for (uint64_t i = 0; i < 1000; i++) {
        float w = rng_normal(4, RNG_STREAM_INIT, 0, i), before = w;
        rule_ftrl.start(1, &params, &w, state);
        struct kernel_update k = update_at(&rule_ftrl, &params, &none, 0.3, 0, 1);
        rule_ftrl.step(1, &k, &w, &g, state, &w);
        cr_assert_eq(w, before);
    }
}
