/* The kernels on vectors of SIMD_BYTES bytes, by the vector extensions that gcc and clang share. Included once each by
 * kernels_avx2.c and kernels_avx512.c, which set SIMD_BYTES, SIMD_SQRT (SIMD_SQRT_WIDE: of doubles), SIMD_NAME and
 * SIMD_TABLE and are compiled for their CPU.
 *
 * Invariant: per element the same operations in the same order as kernels_ref.c, which also does the last elements of
 * an array. Thread: any. */
#include <math.h>
#include <string.h>

#include "common/kernels/kernels_math.h"

typedef float v_float __attribute__((vector_size(SIMD_BYTES)));
typedef double v_double __attribute__((vector_size(SIMD_BYTES)));
typedef uint64_t v_bits __attribute__((vector_size(SIMD_BYTES)));
typedef uint32_t v_words __attribute__((vector_size(SIMD_BYTES)));
typedef float v_half __attribute__((vector_size(SIMD_BYTES / 2))); /* as many floats as a v_double has doubles */

enum { FLOATS = SIMD_BYTES / 4, DOUBLES = SIMD_BYTES / 8, REDUCE_VECTORS = REDUCE_LANES / DOUBLES };

#define SIMD_INLINE static inline __attribute__((always_inline))

SIMD_INLINE v_float load(const float *p)
{
    v_float v;
    memcpy(&v, p, sizeof v);
    return v;
}

SIMD_INLINE void store(float *p, v_float v)
{
    memcpy(p, &v, sizeof v);
}

/* DOUBLES floats as doubles. */
SIMD_INLINE v_double load_wide(const float *p)
{
    v_half v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, v_double);
}

/* Rounds to float. */
SIMD_INLINE void store_narrow(float *p, v_double v)
{
    v_half half = __builtin_convertvector(v, v_half);
    memcpy(p, &half, sizeof half);
}

SIMD_INLINE v_double splat(double x)
{
    return x - (v_double){0}; /* not +, which would lose the sign of -0 */
}

/* yes where the mask is all ones, no where it is zero. */
SIMD_INLINE v_double pick(v_bits mask, v_double yes, v_double no)
{
    return (v_double)((mask & (v_bits)yes) | (~mask & (v_bits)no));
}

SIMD_INLINE v_double with_sign_of(v_double magnitude, v_double sign)
{
    v_bits bit = (v_bits)splat(-0.0);
    return (v_double)(((v_bits)magnitude & ~bit) | ((v_bits)sign & bit));
}

static void simd_add(size_t n, const float *a, const float *b, float *out)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS)
        store(out + i, load(a + i) + load(b + i));
    if (i < n)
        kernels_ref.add(n - i, a + i, b + i, out + i);
}

static void simd_canonicalize(size_t n, const float *x, float *out)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS)
        store(out + i, load(x + i) + 0.0F);
    if (i < n)
        kernels_ref.canonicalize(n - i, x + i, out + i);
}

static void simd_axpy(size_t n, float a, const float *x, float *y)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS)
        store(y + i, load(y + i) + a * load(x + i));
    if (i < n)
        kernels_ref.axpy(n - i, a, x + i, y + i);
}

SIMD_INLINE v_double exp_parts(v_double d, v_double *ret_scale)
{
    v_double shifted = d * MATH_LOG2_E + MATH_ROUND;
    v_double n = shifted - MATH_ROUND;
    v_double r = d - n * MATH_LN_2;
    v_double sum = splat(MATH_EXP[MATH_EXP_TERMS - 1]);
    for (int k = MATH_EXP_TERMS - 2; k >= 0; k--)
        sum = sum * r + MATH_EXP[k];
    *ret_scale = (v_double)(((v_bits)shifted + 1023) << 52);
    return r * sum;
}

static void simd_exp(size_t n, const float *x, float *out)
{
    size_t i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES) {
        v_double d = load_wide(x + i), scale;
        d = pick((v_bits)(d < MATH_EXP_LOW), splat(MATH_EXP_LOW), d);
        d = pick((v_bits)(d > MATH_EXP_HIGH), splat(MATH_EXP_HIGH), d);
        v_double q = exp_parts(d, &scale);
        store_narrow(out + i, (1 + q) * scale);
    }
    if (i < n)
        kernels_ref.exp(n - i, x + i, out + i);
}

static void simd_tanh(size_t n, const float *x, float *out)
{
    size_t i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES) {
        v_double d = load_wide(x + i), a = with_sign_of(d, splat(0)) * 2, scale;
        a = pick((v_bits)(a > MATH_TANH_CUT), splat(MATH_TANH_CUT), a);
        v_double q = exp_parts(a, &scale);
        v_double t = (scale - 1) + scale * q;
        store_narrow(out + i, with_sign_of(t / (t + 2), d));
    }
    if (i < n)
        kernels_ref.tanh(n - i, x + i, out + i);
}

SIMD_INLINE v_double log1p_parts(v_double d)
{
    v_double u = 1 + d;
    v_bits above = (v_bits)u - MATH_SQRT_HALF_BITS + ((uint64_t)MATH_EXPONENT_BIAS << 52);
    /* A small integer becomes a double by standing in the low bits of 2^52. */
    v_double k = (v_double)((above >> 52) | MATH_TWO_52_BITS) - (0x1p52 + MATH_EXPONENT_BIAS);
    v_double m = (v_double)((above & 0x000FFFFFFFFFFFFFu) + MATH_SQRT_HALF_BITS);
    v_double f = pick((v_bits)(k == 0), d, m - 1);
    v_double s = f / (2 + f), z = s * s;
    v_double sum = splat(MATH_LOG[MATH_LOG_TERMS - 1]);
    for (int t = MATH_LOG_TERMS - 2; t >= 0; t--)
        sum = sum * z + MATH_LOG[t];
    v_double y = with_sign_of(k * MATH_LN_2 + 2 * s * sum, d);
    y = pick((v_bits)(u > 0), y, pick((v_bits)(u == 0), splat(-INFINITY), splat((double)NAN)));
    return pick((v_bits)(u == INFINITY), u, y);
}

static void simd_log1p(size_t n, const float *x, float *out)
{
    size_t i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES)
        store_narrow(out + i, log1p_parts(load_wide(x + i)));
    if (i < n)
        kernels_ref.log1p(n - i, x + i, out + i);
}

static double simd_sum(size_t n, const float *x)
{
    v_double sums[REDUCE_VECTORS] = {{0}};
    double lanes[REDUCE_LANES];
    size_t i = 0;
    for (; i + REDUCE_LANES <= n; i += REDUCE_LANES)
        for (size_t v = 0; v < REDUCE_VECTORS; v++)
            sums[v] += load_wide(x + i + v * DOUBLES);
    memcpy(lanes, sums, sizeof lanes);
    for (; i < n; i++)
        lanes[i % REDUCE_LANES] += (double)x[i];
    return reduce_lanes(lanes);
}

static double simd_dot(size_t n, const float *x, const float *y)
{
    v_double sums[REDUCE_VECTORS] = {{0}};
    double lanes[REDUCE_LANES];
    size_t i = 0;
    for (; i + REDUCE_LANES <= n; i += REDUCE_LANES)
        for (size_t v = 0; v < REDUCE_VECTORS; v++)
            sums[v] += load_wide(x + i + v * DOUBLES) * load_wide(y + i + v * DOUBLES);
    memcpy(lanes, sums, sizeof lanes);
    for (; i < n; i++)
        lanes[i % REDUCE_LANES] += (double)x[i] * (double)y[i];
    return reduce_lanes(lanes);
}

static double simd_sum_squares(size_t n, const float *x)
{
    return simd_dot(n, x, x);
}

#include "common/base/number.h"
#include "common/kernels/kernels_rules_simd.h"

static bool simd_finite(size_t n, const float *x)
{
    v_words carry = {0}; /* as floats_finite has it */
    size_t i = 0;
    for (; n - i >= FLOATS; i += FLOATS) {
        v_words bits;
        memcpy(&bits, x + i, sizeof bits);
        carry |= (bits & UINT32_C(0x7fffffff)) + UINT32_C(0x00800000);
    }
    uint32_t any = 0;
    for (int k = 0; k < FLOATS; k++)
        any |= carry[k];
    return !(any >> 31) && floats_finite(n - i, x + i);
}

const struct kernels SIMD_TABLE = {
    .name = SIMD_NAME,
    .add = simd_add,
    .canonicalize = simd_canonicalize,
    .axpy = simd_axpy,
    .exp = simd_exp,
    .log1p = simd_log1p,
    .tanh = simd_tanh,
    .sum = simd_sum,
    .dot = simd_dot,
    .sum_squares = simd_sum_squares,
    .sgd = simd_sgd,
    .momentum = simd_momentum,
    .nesterov = simd_nesterov,
    .adagrad = simd_adagrad,
    .rmsprop = simd_rmsprop,
    .adam = simd_adam,
    .ftrl = simd_ftrl,
    .lars = simd_lars,
    .moments = simd_moments,
    .lamb = simd_lamb,
    .descend = simd_descend,
    .compensate = simd_compensate,
    .clip = simd_clip,
    .clamp = simd_clamp,
    .scale = simd_scale,
    .shrink = simd_shrink,
    .shrink_by = simd_shrink_by,
    .rates = simd_rates,
    .finite = simd_finite,
};
