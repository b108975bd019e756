/* exp, log1p and tanh against long double libm over dense sweeps of bit patterns, and at the edges. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/base/util.h"
#include "common/kernels/kernels.h"

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Distance in units of the last place of a float near `exact`. */
static long double ulps(float got, long double exact)
{
    if (exact == 0)
        return got == 0 ? 0 : INFINITY;
    int e = ilogbl(exact);
    return fabsl((long double)got - exact) / ldexpl(1, (e < -126 ? -126 : e) - 23);
}

typedef void (*kernel)(size_t n, const float *x, float *out);
typedef long double (*libm)(long double x);

struct worst {
    long double ulps;
    float at;
};

/* Every `stride`-th float from low to high, which have the same sign and |low| <= |high|. */
static void sweep(kernel f, libm exact, float low, float high, uint32_t stride, struct worst *worst)
{
    enum { RUN = 1024 };
    float x[RUN], out[RUN];
    for (uint32_t bits = to_bits(low), last = to_bits(high); bits <= last;) {
        size_t n = 0;
        for (; n < RUN && bits <= last; bits += stride)
            x[n++] = from_bits(bits);
        f(n, x, out);
        for (size_t i = 0; i < n; i++) {
            long double u = ulps(out[i], exact((long double)x[i]));
            if (u > worst->ulps || isnan(u))
                *worst = (struct worst){u, x[i]};
        }
    }
}

enum { STRIDE = 97 };

static void select_best(void)
{
    dp_error err;
    cr_assert_eq(kernels_select("auto", &err), DP_OK);
}

static void expect_bound(struct worst worst, double bound, const char *name)
{
    cr_log_info("%s: worst %.4Lf ulp at %a", name, worst.ulps, (double)worst.at);
    cr_assert(worst.ulps <= bound, "%s: %.4Lf ulp at %a", name, worst.ulps, (double)worst.at);
}

/* The promise of common/kernels/kernels.h. */
static const double BOUND = 0.52;

Test(kernels_math, exp_bound)
{
    struct worst worst = {0};
    select_best();
    sweep(kernels_get()->exp, expl, 0.0F, 88.72283F, STRIDE, &worst);
    sweep(kernels_get()->exp, expl, -0.0F, -103.9F, STRIDE, &worst);
    expect_bound(worst, BOUND, "exp");
}

Test(kernels_math, log1p_bound)
{
    struct worst worst = {0};
    select_best();
    sweep(kernels_get()->log1p, log1pl, 0.0F, 0x1.fffffep127F, STRIDE, &worst);
    sweep(kernels_get()->log1p, log1pl, -0.0F, -0x1.fffffep-1F, STRIDE, &worst);
    expect_bound(worst, BOUND, "log1p");
}

Test(kernels_math, tanh_bound)
{
    struct worst worst = {0};
    select_best();
    sweep(kernels_get()->tanh, tanhl, 0.0F, 12.0F, STRIDE, &worst);
    sweep(kernels_get()->tanh, tanhl, -0.0F, -12.0F, STRIDE, &worst);
    sweep(kernels_get()->tanh, tanhl, 12.0F, 0x1.fffffep127F, STRIDE * 100, &worst);
    expect_bound(worst, BOUND, "tanh");
}

/* The versions agree on the whole range of bit patterns, not only where the bounds are measured. */
Test(kernels_math, versions_agree_on_all_bit_patterns)
{
    enum { RUN = 1000, SPARSE = 4999 };
    static const char *const NAMES[] = {"avx2", "avx512"};
    for (size_t v = 0; v < ARRAY_LEN(NAMES); v++) {
        if (kernels_select(NAMES[v], NULL) != DP_OK)
            continue;
        const struct kernels *t = kernels_get();
        const kernel got[] = {t->exp, t->log1p, t->tanh};
        const kernel want[] = {kernels_ref.exp, kernels_ref.log1p, kernels_ref.tanh};
        float x[RUN], a[RUN], b[RUN];
        for (uint64_t bits = 0; bits <= UINT32_MAX;) {
            size_t n = 0;
            for (; n < RUN && bits <= UINT32_MAX; bits += SPARSE)
                x[n++] = from_bits((uint32_t)bits);
            for (size_t f = 0; f < ARRAY_LEN(got); f++) {
                got[f](n, x, a);
                want[f](n, x, b);
                for (size_t i = 0; i < n; i++)
                    cr_assert(to_bits(a[i]) == to_bits(b[i]) || (isnan(a[i]) && isnan(b[i])),
                              "%s %zu at %a: %a, not %a", t->name, f, (double)x[i], (double)a[i], (double)b[i]);
            }
        }
    }
}

static float apply(kernel f, float x)
{
    float out;
    f(1, &x, &out);
    return out;
}

Test(kernels_math, exp_edges)
{
    kernel f = kernels_ref.exp;
    cr_assert_eq(apply(f, 0.0F), 1.0F);
    cr_assert_eq(apply(f, -0.0F), 1.0F);
    cr_assert_eq(apply(f, 0x1p-149F), 1.0F);
    cr_assert_eq(apply(f, INFINITY), INFINITY);
    cr_assert_eq(apply(f, -INFINITY), 0.0F);
    cr_assert_eq(apply(f, 88.73F), INFINITY);
    cr_assert_eq(apply(f, 1e30F), INFINITY);
    cr_assert(isfinite(apply(f, 88.72F)));
    cr_assert_eq(apply(f, -103.98F), 0.0F);
    cr_assert_eq(apply(f, -1e30F), 0.0F);
    cr_assert_eq(apply(f, -103.9F), 0x1p-149F);
    cr_assert(isnan(apply(f, NAN)));
}

Test(kernels_math, log1p_edges)
{
    kernel f = kernels_ref.log1p;
    cr_assert_eq(to_bits(apply(f, 0.0F)), to_bits(0.0F));
    cr_assert_eq(to_bits(apply(f, -0.0F)), to_bits(-0.0F));
    cr_assert_eq(apply(f, 0x1p-149F), 0x1p-149F);
    cr_assert_eq(apply(f, -0x1.8p-148F), -0x1.8p-148F);
    cr_assert_eq(apply(f, -1.0F), -INFINITY);
    cr_assert(isnan(apply(f, -1.0000001F)));
    cr_assert(isnan(apply(f, -INFINITY)));
    cr_assert(isnan(apply(f, NAN)));
    cr_assert_eq(apply(f, INFINITY), INFINITY);
    cr_assert_eq(apply(f, 0x1.fffffep127F), (float)log1p(0x1.fffffep127));
}

Test(kernels_math, tanh_edges)
{
    kernel f = kernels_ref.tanh;
    cr_assert_eq(to_bits(apply(f, 0.0F)), to_bits(0.0F));
    cr_assert_eq(to_bits(apply(f, -0.0F)), to_bits(-0.0F));
    cr_assert_eq(apply(f, 0x1p-149F), 0x1p-149F);
    cr_assert_eq(apply(f, -0x1p-149F), -0x1p-149F);
    cr_assert_eq(apply(f, 9.1F), 1.0F);
    cr_assert_eq(apply(f, -INFINITY), -1.0F);
    cr_assert_eq(apply(f, 0x1.fffffep127F), 1.0F);
    cr_assert(isnan(apply(f, NAN)));
    for (float x = -10; x < 10; x += 0.01F)
        cr_assert_eq(apply(f, x), -apply(f, -x), "odd at %a", (double)x);
}
