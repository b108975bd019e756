/* Proximal steps; see regularize.h. Thread: any. */
#include "common/terms/regularize.h"

#include <math.h>

#include "common/kernels/kernels.h"

enum { NEWTON_MAX = 100 };

static void scale_group(double factor, size_t n, float *w)
{
    if (factor > 0)
        kernels_get()->scale(n, (float)factor, w);
    else
        for (size_t i = 0; i < n; i++)
            w[i] = 0;
}

void prox_l1(const struct regular *regular, double rate, const float *rates, size_t n, float *w)
{
    if (regular->l1 <= 0)
        return;
    if (rates)
        kernels_get()->shrink_by(n, (float)regular->l1, rates, w);
    else
        kernels_get()->shrink(n, (float)(rate * regular->l1), w);
}

/* f(s) = sum v_i^2/(s + rate_i*lambda)^2 - 1 and its slope. It falls and is convex, so that Newton's steps from s = 0
 * come up to the root and never pass it. */
static double group_gap(double lambda, size_t n, const float *rate, const float *v, double s, double *ret_slope)
{
    double gap = -1, slope = 0;
    for (size_t i = 0; i < n; i++) {
        double below = s + (double)rate[i] * lambda, ratio = (double)v[i] / below;
        gap += ratio * ratio;
        slope -= 2 * ratio * ratio / below;
    }
    *ret_slope = slope;
    return gap;
}

static void prox_group(double lambda, size_t n, const float *rate, float *w)
{
    double s = 0, slope, gap = group_gap(lambda, n, rate, w, s, &slope);
    if (!(gap > 0)) {
        scale_group(0, n, w);
        return;
    }
    for (int i = 0; i < NEWTON_MAX && gap > 0; i++) {
        double next = s - gap / slope;
        if (next <= s)
            break;
        s = next;
        gap = group_gap(lambda, n, rate, w, s, &slope);
    }
    for (size_t i = 0; i < n; i++)
        w[i] = (float)((double)w[i] * s / (s + (double)rate[i] * lambda));
}

void prox_groups(const struct regular *regular, double rate, const float *rates, size_t n, float *w)
{
    size_t size = (size_t)regular->group_size;
    for (size_t at = 0; regular->group > 0 && at < n; at += size) {
        if (rates) {
            prox_group(regular->group, size, rates + at, w + at);
            continue;
        }
        double norm = sqrt(kernels_get()->sum_squares(size, w + at));
        if (norm > 0)
            scale_group(1 - rate * regular->group / norm, size, w + at);
    }
}

struct regular_sums regular_sums(const struct regular *regular, size_t n, const float *w)
{
    struct regular_sums sums = {.squares = kernels_get()->sum_squares(n, w)};
    for (size_t i = 0; i < n; i++) {
        sums.magnitudes += fabs((double)w[i]);
        sums.zeros += w[i] == 0;
    }
    size_t size = (size_t)regular->group_size;
    for (size_t at = 0; regular->group > 0 && at < n; at += size)
        sums.group_norms += sqrt(kernels_get()->sum_squares(size, w + at));
    return sums;
}

double regular_value(const struct regular *regular, const struct regular_sums *sums)
{
    return regular->l1 * sums->magnitudes + 0.5 * regular->l2 * sums->squares + regular->group * sums->group_norms;
}
