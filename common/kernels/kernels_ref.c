/* The reference of every kernel: naive loops, one operation a line where the order matters. The other versions equal
 * it bit for bit. Thread: any. */
#include "common/kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "common/base/number.h"
#include "common/kernels/kernels_math.h"
#include "common/kernels/kernels_rules.h"

static void ref_add(size_t n, const float *a, const float *b, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = a[i] + b[i];
}

static void ref_canonicalize(size_t n, const float *x, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] + 0.0F;
}

static void ref_axpy(size_t n, float a, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = y[i] + a * x[i];
}

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* e^d - 1 = (2^n - 1) + 2^n * q with d = n ln 2 + r, q = e^r - 1. Returns q, and 2^n to *ret_scale. */
static double exp_parts(double d, double *ret_scale)
{
    double shifted = d * MATH_LOG2_E + MATH_ROUND;
    double n = shifted - MATH_ROUND;
    double r = d - n * MATH_LN_2;
    double sum = MATH_EXP[MATH_EXP_TERMS - 1];
    for (int k = MATH_EXP_TERMS - 2; k >= 0; k--)
        sum = sum * r + MATH_EXP[k];
    *ret_scale = from_bits((to_bits(shifted) + 1023) << 52);
    return r * sum;
}

static void ref_exp(size_t n, const float *x, float *out)
{
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i], scale;
        d = d < MATH_EXP_LOW ? MATH_EXP_LOW : d;
        d = d > MATH_EXP_HIGH ? MATH_EXP_HIGH : d;
        double q = exp_parts(d, &scale);
        out[i] = (float)((1 + q) * scale);
    }
}

static void ref_tanh(size_t n, const float *x, float *out)
{
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i], a = fabs(d) * 2, scale;
        a = a > MATH_TANH_CUT ? MATH_TANH_CUT : a;
        double q = exp_parts(a, &scale);
        double t = (scale - 1) + scale * q; /* e^2|x| - 1 */
        out[i] = (float)copysign(t / (t + 2), d);
    }
}

/* ln(1 + d): 1 + d = 2^k m with m in [sqrt(1/2), sqrt(2)), f = m - 1 (d itself where k = 0, so that nothing of a small
 * d is lost), ln m = 2 artanh(f/(2 + f)). */
static double log1p_one(double d)
{
    double u = 1 + d;
    if (!(u > 0))
        return u == 0 ? -INFINITY : NAN;
    if (u == INFINITY)
        return u;
    uint64_t above = to_bits(u) - MATH_SQRT_HALF_BITS + ((uint64_t)MATH_EXPONENT_BIAS << 52);
    double k = (double)(above >> 52) - MATH_EXPONENT_BIAS;
    double m = from_bits((above & 0x000FFFFFFFFFFFFFu) + MATH_SQRT_HALF_BITS);
    double f = k == 0 ? d : m - 1;
    double s = f / (2 + f), z = s * s;
    double sum = MATH_LOG[MATH_LOG_TERMS - 1];
    for (int t = MATH_LOG_TERMS - 2; t >= 0; t--)
        sum = sum * z + MATH_LOG[t];
    return copysign(k * MATH_LN_2 + 2 * s * sum, d);
}

static void ref_log1p(size_t n, const float *x, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)log1p_one((double)x[i]);
}

static double ref_sum(size_t n, const float *x)
{
    double lanes[REDUCE_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % REDUCE_LANES] += (double)x[i];
    return reduce_lanes(lanes);
}

static double ref_dot(size_t n, const float *x, const float *y)
{
    double lanes[REDUCE_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % REDUCE_LANES] += (double)x[i] * (double)y[i];
    return reduce_lanes(lanes);
}

static double ref_sum_squares(size_t n, const float *x)
{
    return ref_dot(n, x, x);
}

const struct kernels kernels_ref = {
    .name = "ref",
    .add = ref_add,
    .canonicalize = ref_canonicalize,
    .axpy = ref_axpy,
    .exp = ref_exp,
    .log1p = ref_log1p,
    .tanh = ref_tanh,
    .sum = ref_sum,
    .dot = ref_dot,
    .sum_squares = ref_sum_squares,
    .sgd = ref_sgd,
    .momentum = ref_momentum,
    .nesterov = ref_nesterov,
    .adagrad = ref_adagrad,
    .rmsprop = ref_rmsprop,
    .adam = ref_adam,
    .ftrl = ref_ftrl,
    .lars = ref_lars,
    .moments = ref_moments,
    .lamb = ref_lamb,
    .descend = ref_descend,
    .compensate = ref_compensate,
    .clip = ref_clip,
    .clamp = ref_clamp,
    .scale = ref_scale,
    .shrink = ref_shrink,
    .shrink_by = ref_shrink_by,
    .rates = ref_rates,
    .finite = floats_finite,
};
