/* Projections on random input: feasible, idempotent, non-expansive, and nearest: <v - Pv, z - Pv> <= 0 for feasible z.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/kernels/kernels.h"
#include "common/terms/constraint.h"
#include "common/terms/project.h"

enum { N = 60, ROW = 12, ROUNDS = 300 };

static void p_nonneg(float *w)
{
    kernels_get()->clamp(N, 0, INFINITY, w);
}

static void p_box(float *w)
{
    kernels_get()->clamp(N, -0.5F, 0.25F, w);
}

static void p_max_norm(float *w)
{
    project_max_norm(N, ROW, 2, w);
}

static void p_l2_ball(float *w)
{
    project_l2_ball(N, 3, w);
}

static void p_l1_ball(float *w)
{
    project_l1_ball(N, 4, w);
}

static void p_simplex(float *w)
{
    project_simplex(N, 2, w);
}

static void p_sum(float *w)
{
    project_sum(N, 5, w);
}

static void p_nonneg_l2_ball(float *w)
{
    p_nonneg(w);
    p_l2_ball(w);
}

static void p_nonneg_l1_ball(float *w)
{
    p_nonneg(w);
    p_l1_ball(w);
}

static void p_unit_norm(float *w)
{
    project_unit_norm(N, ROW, w);
}

static double sum(const float *w)
{
    double s = 0;
    for (int i = 0; i < N; i++)
        s += w[i];
    return s;
}

static double sum_magnitudes(const float *w)
{
    double s = 0;
    for (int i = 0; i < N; i++)
        s += fabsf(w[i]);
    return s;
}

static double row_norm(const float *w, int from, int count)
{
    double s = 0;
    for (int i = from; i < from + count; i++)
        s += (double)w[i] * w[i];
    return sqrt(s);
}

static double negative(const float *w)
{
    double worst = 0;
    for (int i = 0; i < N; i++)
        worst = fmax(worst, -w[i]);
    return worst;
}

/* Distance from the set, relative to its size. */
static double v_nonneg(const float *w)
{
    return negative(w);
}

static double v_box(const float *w)
{
    double worst = 0;
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fmax(-0.5 - w[i], w[i] - 0.25));
    return worst;
}

static double v_max_norm(const float *w)
{
    double worst = 0;
    for (int r = 0; r < N; r += ROW)
        worst = fmax(worst, row_norm(w, r, ROW) / 2 - 1);
    return worst;
}

static double v_l2_ball(const float *w)
{
    return fmax(0, row_norm(w, 0, N) / 3 - 1);
}

static double v_l1_ball(const float *w)
{
    return fmax(0, sum_magnitudes(w) / 4 - 1);
}

static double v_simplex(const float *w)
{
    return fmax(negative(w), fabs(sum(w) / 2 - 1));
}

static double v_sum(const float *w)
{
    return fabs(sum(w) / 5 - 1);
}

static double v_nonneg_l2_ball(const float *w)
{
    return fmax(v_nonneg(w), v_l2_ball(w));
}

static double v_nonneg_l1_ball(const float *w)
{
    return fmax(v_nonneg(w), v_l1_ball(w));
}

static double v_unit_norm(const float *w)
{
    double worst = 0;
    for (int r = 0; r < N; r += ROW)
        worst = fmax(worst, fabs(row_norm(w, r, ROW) - 1));
    return worst;
}

static const struct set {
    const char *name;
    void (*project)(float *w);
    double (*violation)(const float *w);
    bool convex;
} SETS[] = {
    {"nonneg", p_nonneg, v_nonneg, true},
    {"box", p_box, v_box, true},
    {"max-norm", p_max_norm, v_max_norm, true},
    {"l2-ball", p_l2_ball, v_l2_ball, true},
    {"l1-ball", p_l1_ball, v_l1_ball, true},
    {"simplex", p_simplex, v_simplex, true},
    {"sum", p_sum, v_sum, true},
    {"nonneg of l2-ball", p_nonneg_l2_ball, v_nonneg_l2_ball, true},
    {"nonneg of l1-ball", p_nonneg_l1_ball, v_nonneg_l1_ball, true},
    {"unit-norm", p_unit_norm, v_unit_norm, false},
};
enum { SET_COUNT = sizeof SETS / sizeof SETS[0] };

/* Values of very different sizes, sometimes with zeros and ties. */
static void draw(uint64_t stream, float *w)
{
    double size = pow(10, rng_uniform(9, RNG_STREAM_INIT, stream, 1000) * 4 - 2);
    for (uint64_t i = 0; i < N; i++) {
        w[i] = (float)(size * rng_normal(9, RNG_STREAM_INIT, stream, i));
        if (stream % 3 == 0 && i % 4 == 0)
            w[i] = 0;
        if (stream % 5 == 0)
            w[i] = roundf(w[i]);
    }
}

static double distance(const float *a, const float *b)
{
    double s = 0;
    for (int i = 0; i < N; i++)
        s += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(s);
}

/* 16 ulps of float32, relative to the size of the set and of the input. */
static const double ULPS = 16 * 6e-8;

Test(project, feasible_and_idempotent)
{
    for (int s = 0; s < SET_COUNT; s++)
        for (uint64_t round = 1; round < ROUNDS; round++) {
            float v[N], once[N], twice[N];
            draw(round, v);
            memcpy(once, v, sizeof v);
            SETS[s].project(once);
            double size = 1 + row_norm(v, 0, N);
            if (SETS[s].convex || round % 5)
                cr_assert_leq(SETS[s].violation(once), ULPS * size, "%s, round %u", SETS[s].name, (unsigned)round);
            memcpy(twice, once, sizeof once);
            SETS[s].project(twice);
            cr_assert_leq(distance(once, twice), ULPS * size, "%s, round %u", SETS[s].name, (unsigned)round);
        }
}

Test(project, non_expansive_and_nearest)
{
    for (int s = 0; s < SET_COUNT; s++)
        for (uint64_t round = 1; SETS[s].convex && round < ROUNDS; round++) {
            float v[N], u[N], pv[N], pu[N];
            draw(round, v);
            draw(round + 7, u);
            memcpy(pv, v, sizeof v);
            memcpy(pu, u, sizeof u);
            SETS[s].project(pv);
            SETS[s].project(pu);
            double size = 1 + row_norm(v, 0, N) + row_norm(u, 0, N);
            cr_assert_leq(distance(pv, pu), distance(v, u) + ULPS * size, "%s, round %u", SETS[s].name,
                          (unsigned)round);
            double inner = 0; /* pu is a feasible point */
            for (int i = 0; i < N; i++)
                inner += ((double)v[i] - pv[i]) * ((double)pu[i] - pv[i]);
            cr_assert_leq(inner, ULPS * size * size, "%s, round %u", SETS[s].name, (unsigned)round);
        }
}

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Duchi's sort and Michelot's rounds find the same threshold. */
Test(project, simplex_is_duchis)
{
    for (uint64_t round = 1; round < ROUNDS; round++) {
        float v[N], u[N], w[N];
        draw(round, v);
        memcpy(u, v, sizeof v);
        memcpy(w, v, sizeof v);
        qsort(u, N, sizeof *u, descending);
        double partial = 0, theta = 0;
        for (int j = 0; j < N; j++) {
            partial += u[j];
            if (u[j] > (partial - 2) / (j + 1))
                theta = (partial - 2) / (j + 1);
        }
        project_simplex(N, 2, w);
        for (int i = 0; i < N; i++)
            cr_assert_float_eq(w[i], fmax(v[i] - theta, 0), 2e-7 * (1 + fabs((double)v[i])), "round %u",
                               (unsigned)round);
    }
}

Test(project, what_is_feasible_stays)
{
    float w[N] = {0.5F, 0.25F, -0.125F}, before[N];
    memcpy(before, w, sizeof w);
    p_l2_ball(w);
    p_l1_ball(w);
    p_max_norm(w);
    cr_assert_eq(memcmp(w, before, sizeof w), 0);
}

Test(project, ends_on_bad_numbers)
{
    float w[N] = {NAN, INFINITY, -INFINITY};
    p_simplex(w);
    p_l1_ball(w);
}

/* 0.1 is no float: what lies on a bound as a float is neither measured as outside nor pulled. */
Test(project, a_box_is_the_same_for_projection_measure_and_penalty)
{
    struct constraint box = {.kind = CONSTRAINT_BOX, .lo = -0.1, .hi = 0.1};
    float w[2] = {-1, 1}, g[2] = {0, 0};
    double sum = 0;
    kernels_get()->clamp(2, (float)box.lo, (float)box.hi, w);
    constraint_sums(&box, 0, 1, 2, w, &sum);
    constraint_pull(&box, 0, 2, w, NULL, NULL, 1e6, g);
    cr_assert(sum == 0 && g[0] == 0 && g[1] == 0, "%g, %g, %g", sum, (double)g[0], (double)g[1]);
}
