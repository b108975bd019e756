/* Projections; see project.h. Thread: any. */
#include "common/terms/project.h"

#include <float.h>
#include <math.h>

#include "common/kernels/kernels.h"

enum { BALL_ROUNDS = 100 };

double project_ball_factor(double sum_squares, double r)
{
    double norm = sqrt(sum_squares);
    return norm > r ? r / norm : 1;
}

void project_max_norm(size_t n, size_t row, double r, float *w)
{
    for (size_t at = 0; at < n; at += row) {
        double factor = project_ball_factor(kernels_get()->sum_squares(row, w + at), r);
        if (factor < 1)
            kernels_get()->scale(row, (float)factor, w + at);
    }
}

double project_ball_next(double mu, double squares, double slope, double r)
{
    double norm = sqrt(squares), next = mu + squares / slope * (norm - r) / r;
    return norm > r * (1 + 1e-11) && next > mu && isfinite(next) ? next : mu;
}

static double row_multiplier(size_t n, const float *rates, const float *v, double r)
{
    double mu = 0;
    for (int round = 0; round < BALL_ROUNDS; round++) {
        double squares = 0, slope = 0;
        for (size_t i = 0; i < n; i++) {
            double below = 1 + (double)rates[i] * mu, x = (double)v[i] / below;
            squares += x * x;
            slope += (double)rates[i] * x * x / below;
        }
        double next = project_ball_next(mu, squares, slope, r);
        if (next <= mu)
            break;
        mu = next;
    }
    return mu;
}

/* A norm that only rounding to float took beyond r stays, so that projecting twice is projecting once. */
void project_max_norm_by_rate(size_t n, size_t row, double r, const float *rates, float *w)
{
    for (size_t at = 0; at < n; at += row) {
        if (!(sqrt(kernels_get()->sum_squares(row, w + at)) > r * (1 + (double)FLT_EPSILON)))
            continue;
        double mu = row_multiplier(row, rates + at, w + at, r);
        for (size_t i = at; i < at + row; i++)
            w[i] = (float)((double)w[i] / (1 + (double)rates[i] * mu));
    }
}

void project_unit_norm(size_t n, size_t row, float *w)
{
    for (size_t at = 0; at < n; at += row) {
        double norm = sqrt(kernels_get()->sum_squares(row, w + at));
        if (norm > 0)
            kernels_get()->scale(row, (float)(1 / norm), w + at);
    }
}

void project_shift(size_t n, double a, float *w)
{
    for (size_t i = 0; i < n; i++)
        w[i] = (float)((double)w[i] + a);
}

void michelot_start(struct michelot *m, double target, double sum, double n, bool ball)
{
    *m = (struct michelot){.target = target, .count = n, .done = ball && sum <= target};
    if (!m->done)
        m->theta = (sum - target) / n;
}

void michelot_round(struct michelot *m, double sum, double count)
{
    /* Nothing above theta: only with NaN or infinity among the elements. */
    if (count == m->count || count == 0) {
        m->done = true;
        return;
    }
    m->count = count;
    m->theta = (sum - m->target) / count;
}

void sums_above(size_t n, const float *x, double theta, bool magnitudes, double ret[2])
{
    double sum = 0, count = 0;
    for (size_t i = 0; i < n; i++) {
        double v = magnitudes ? fabs((double)x[i]) : (double)x[i];
        if (v > theta) {
            sum += v;
            count += 1;
        }
    }
    ret[0] = sum;
    ret[1] = count;
}

void lower_by(size_t n, double theta, bool magnitudes, float *x)
{
    for (size_t i = 0; i < n; i++) {
        double v = magnitudes ? fabs((double)x[i]) : (double)x[i];
        double low = v - theta;
        float y = low <= 0 ? 0 : (float)low;
        x[i] = magnitudes && y != 0 ? copysignf(y, x[i]) : y;
    }
}

void project_l2_ball(size_t n, double r, float *w)
{
    project_max_norm(n, n, r, w);
}

static void finish(struct michelot *m, size_t n, bool magnitudes, float *w)
{
    while (!m->done) {
        double sums[2];
        sums_above(n, w, m->theta, magnitudes, sums);
        michelot_round(m, sums[0], sums[1]);
    }
    lower_by(n, m->theta, magnitudes, w);
}

void project_l1_ball(size_t n, double r, float *w)
{
    struct michelot m;
    double sums[2];
    sums_above(n, w, 0, true, sums);
    michelot_start(&m, r, sums[0], (double)n, true);
    if (!m.done)
        finish(&m, n, true, w);
}

void project_simplex(size_t n, double s, float *w)
{
    struct michelot m;
    michelot_start(&m, s, kernels_get()->sum(n, w), (double)n, false);
    finish(&m, n, false, w);
}

void project_sum(size_t n, double s, float *w)
{
    project_shift(n, (s - kernels_get()->sum(n, w)) / (double)n, w);
}
