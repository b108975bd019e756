/* Every version of the kernels against the reference, bit for bit, over lengths, alignments and special values. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/util.h"
#include "common/kernels/kernels.h"
#include "common/kernels/numerics.h"

static const size_t LENGTHS[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 1023};
enum { LENGTH_MAX = 1023, SKEW_MAX = 3, GUARD = 32, ROOM = LENGTH_MAX + SKEW_MAX + GUARD };

static const char *const VERSIONS[] = {"avx512", "avx2", "ref"};

/* Calls check(table) for every version this CPU can run. */
static void for_each_version(void (*check)(const struct kernels *table))
{
    size_t ran = 0;
    for (size_t i = 0; i < ARRAY_LEN(VERSIONS); i++) {
        dp_error err;
        if (kernels_select(VERSIONS[i], &err) != DP_OK)
            continue;
        check(kernels_get());
        ran++;
    }
    cr_assert_gt(ran, 0);
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static const float SPECIALS[] = {0.0F,
                                 -0.0F,
                                 INFINITY,
                                 -INFINITY,
                                 NAN,
                                 0x1p-149F,
                                 -0x1p-149F,
                                 0x1.fffffcp-127F,
                                 0x1p-126F,
                                 1.0F,
                                 -1.0F,
                                 0x1.fffffep127F,
                                 -0x1.fffffep127F,
                                 88.72F,
                                 88.73F,
                                 -103.9F,
                                 -104.0F,
                                 0x1p-30F,
                                 -0x1p-30F,
                                 -0.5F,
                                 9.0F,
                                 -9.1F,
                                 1e10F,
                                 -0.99999994F};

/* mode 0: about N(0, 1); 1: any bit pattern; 2: specials among ordinary numbers. */
static void fill(float *x, size_t n, uint64_t stream, int mode)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = rng_u64(31, RNG_STREAM_INIT, stream, i);
        if (mode == 1)
            x[i] = from_bits((uint32_t)bits);
        else if (mode == 2 && bits % 3 == 0)
            x[i] = SPECIALS[(bits >> 32) % ARRAY_LEN(SPECIALS)];
        else
            x[i] = rng_normal(32, RNG_STREAM_INIT, stream, i);
    }
}

static bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void expect_same(const float *got, const float *want, const char *version, const char *kernel, size_t n)
{
    for (size_t i = 0; i < ROOM; i++)
        cr_assert(same_float(got[i], want[i]), "%s %s, n = %zu: element %zu is %a, not %a", version, kernel, n, i,
                  (double)got[i], (double)want[i]);
}

/* Inputs, and outputs of the version (0) and of the reference (1); both outputs start equal, so that what a kernel
 * writes beyond its end is seen as well. */
static float a_in[ROOM], b_in[ROOM], c_in[ROOM], out[2][ROOM], state[2][ROOM], second[2][ROOM], third[2][ROOM];

struct shape {
    size_t n, skew;
    int mode;
};

static void reset_outputs(void)
{
    memcpy(out[0], c_in, sizeof c_in);
    memcpy(out[1], c_in, sizeof c_in);
    memcpy(state[0], b_in, sizeof b_in);
    memcpy(state[1], b_in, sizeof b_in);
    memcpy(second[0], a_in, sizeof a_in);
    memcpy(second[1], a_in, sizeof a_in);
    memcpy(third[0], c_in, sizeof c_in);
    memcpy(third[1], c_in, sizeof c_in);
}

static void check_element_wise(const struct kernels *table, struct shape s)
{
    const struct kernels *tables[2] = {table, &kernels_ref};
    const struct kernel_update update = {
        .inv_count = 1.0F / 7,
        .lr = 0.3F,
        .l2 = s.mode ? 0.01F : 0,
        .decay = s.mode ? 0 : 0.02F,
        .momentum = 0.9F,
        .gain1 = 0.1F,
        .beta2 = 0.99F,
        .gain2 = 0.01F,
        .v_scale = 3,
        .m_scale = 2,
        .eps = 1e-8F,
        .ftrl = {.scale = 1.0 / 7, .gain = 0.9, .inv_alpha = 2.5, .beta = 1, .l1 = 0.5, .l2 = s.mode ? 0.01 : 0}};
    size_t n = s.n, k = s.skew;
#define BOTH(kernel, call)                                           \
    reset_outputs();                                                 \
    for (int v = 0; v < 2; v++)                                      \
        tables[v]->call;                                             \
    expect_same(out[0], out[1], table->name, #kernel, n);            \
    expect_same(state[0], state[1], table->name, #kernel " m", n);   \
    expect_same(second[0], second[1], table->name, #kernel " v", n); \
    expect_same(third[0], third[1], table->name, #kernel " low", n)

    BOTH(add, add(n, a_in + k, b_in, out[v] + k));
    BOTH(add in place, add(n, out[v] + k, b_in, out[v] + k));
    BOTH(canonicalize, canonicalize(n, a_in, out[v] + k));
    BOTH(axpy, axpy(n, -1.7F, a_in + k, out[v]));
    BOTH(exp, exp(n, a_in + k, out[v]));
    BOTH(exp in place, exp(n, out[v] + k, out[v] + k));
    BOTH(log1p, log1p(n, a_in + k, out[v]));
    BOTH(tanh, tanh(n, a_in + k, out[v]));
    BOTH(sgd, sgd(n, &update, a_in + k, b_in, out[v]));
    BOTH(sgd in place, sgd(n, &update, out[v] + k, b_in, out[v] + k));
    BOTH(momentum, momentum(n, &update, a_in, b_in + k, state[v] + k, out[v]));
    BOTH(nesterov, nesterov(n, &update, a_in, b_in + k, state[v] + k, out[v]));
    BOTH(adagrad, adagrad(n, &update, a_in, b_in + k, state[v] + k, out[v]));
    BOTH(rmsprop, rmsprop(n, &update, a_in, b_in + k, state[v] + k, out[v]));
    BOTH(adam, adam(n, &update, a_in + k, b_in, state[v] + k, second[v], out[v]));
    BOTH(adam in place, adam(n, &update, out[v], b_in, state[v] + k, second[v], out[v]));
    BOTH(ftrl, ftrl(n, &update, a_in + k, b_in, state[v] + k, second[v], third[v] + k, out[v]));
    BOTH(ftrl in place, ftrl(n, &update, out[v] + k, b_in, state[v] + k, second[v], third[v], out[v] + k));
    BOTH(lars, lars(n, &update, a_in, b_in + k, state[v] + k, out[v]));
    BOTH(moments, moments(n, &update, a_in + k, state[v] + k, second[v]));
    BOTH(lamb, lamb(n, &update, a_in + k, b_in, c_in, out[v]));
    BOTH(descend, descend(n, 0.3F, a_in + k, b_in, out[v]));
    BOTH(compensate, compensate(n, 0.3F, 0.7F, a_in + k, b_in, c_in + k, out[v]));
    BOTH(compensate in place, compensate(n, 0.3F, 0.7F, out[v] + k, b_in, a_in, out[v] + k));
    BOTH(clip, clip(n, 0.3F, 0.2F, a_in + k, out[v]));
    BOTH(clamp, clamp(n, -0.5F, 0.25F, out[v] + k));
    BOTH(scale, scale(n, -0.5F, out[v] + k));
    BOTH(shrink, shrink(n, 0.3F, out[v] + k));
    BOTH(shrink_by, shrink_by(n, 0.3F, b_in, out[v] + k));
    BOTH(rates, rates(n, &update, a_in, out[v] + k));
#undef BOTH
}

static void check_all_shapes(const struct kernels *table)
{
    for (size_t l = 0; l < ARRAY_LEN(LENGTHS); l++)
        for (int mode = 0; mode < 3; mode++)
            for (size_t skew = 0; skew <= SKEW_MAX; skew++) {
                fill(a_in, ROOM, l * 10 + 1, mode);
                fill(b_in, ROOM, l * 10 + 2, mode);
                fill(c_in, ROOM, l * 10 + 3, mode);
                check_element_wise(table, (struct shape){LENGTHS[l], skew, mode});
            }
}

Test(kernels, element_wise_equal_the_reference)
{
    for_each_version(check_all_shapes);
}

static void expect_double(double got, double want, const char *version, const char *kernel, size_t n)
{
    cr_assert(memcmp(&got, &want, sizeof got) == 0 || (isnan(got) && isnan(want)), "%s %s, n = %zu: %a, not %a",
              version, kernel, n, got, want);
}

static void check_reductions(const struct kernels *t)
{
    for (size_t l = 0; l < ARRAY_LEN(LENGTHS); l++)
        for (int mode = 0; mode < 3; mode++)
            for (size_t skew = 0; skew <= SKEW_MAX; skew++) {
                size_t n = LENGTHS[l];
                fill(a_in, ROOM, l * 10 + 4, mode);
                fill(b_in, ROOM, l * 10 + 5, mode);
                expect_double(t->sum(n, a_in + skew), kernels_ref.sum(n, a_in + skew), t->name, "sum", n);
                expect_double(t->dot(n, a_in + skew, b_in), kernels_ref.dot(n, a_in + skew, b_in), t->name, "dot", n);
                expect_double(t->sum_squares(n, a_in + skew), kernels_ref.sum_squares(n, a_in + skew), t->name,
                              "sum_squares", n);
            }
}

Test(kernels, reductions_equal_the_reference)
{
    for_each_version(check_reductions);
}

/* The order that common/kernels/kernels.h states, written out. */
Test(kernels, reductions_keep_the_stated_order)
{
    double lanes[8] = {0}, squares[8] = {0};
    fill(a_in, ROOM, 77, 0);
    for (size_t i = 0; i < 1003; i++) {
        lanes[i % 8] += (double)a_in[i];
        squares[i % 8] += (double)a_in[i] * (double)a_in[i];
    }
    double sum = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    double sum2 = ((squares[0] + squares[4]) + (squares[2] + squares[6])) +
                  ((squares[1] + squares[5]) + (squares[3] + squares[7]));
    expect_double(kernels_ref.sum(1003, a_in), sum, "ref", "sum", 1003);
    expect_double(kernels_ref.sum_squares(1003, a_in), sum2, "ref", "sum_squares", 1003);
    expect_double(kernels_ref.dot(1003, a_in, a_in), sum2, "ref", "dot", 1003);
}

static void check_empty(const struct kernels *t)
{
    const struct kernel_update update = {0};
    t->add(0, NULL, NULL, NULL);
    t->canonicalize(0, NULL, NULL);
    t->axpy(0, 1, NULL, NULL);
    t->exp(0, NULL, NULL);
    t->log1p(0, NULL, NULL);
    t->tanh(0, NULL, NULL);
    t->sgd(0, &update, NULL, NULL, NULL);
    t->momentum(0, &update, NULL, NULL, NULL, NULL);
    t->compensate(0, 1, 1, NULL, NULL, NULL, NULL);
    cr_assert_eq(t->sum(0, NULL), 0);
    cr_assert_eq(t->dot(0, NULL, NULL), 0);
    cr_assert_eq(t->sum_squares(0, NULL), 0);
}

Test(kernels, empty_arrays)
{
    for_each_version(check_empty);
}

/* The rules as separate roundings, in the order that common/kernels/kernels.h states; volatile keeps the compiler from
 * fusing. */
static void check_rules(const struct kernels *t)
{
    const struct kernel_update p = {.inv_count = 1.0F / 13, .lr = 0.1F, .l2 = 0.003F, .momentum = 0.99F};
    float sgd[LENGTH_MAX], heavy[LENGTH_MAX], m[LENGTH_MAX], axpy[LENGTH_MAX], late[LENGTH_MAX];
    fill(a_in, ROOM, 81, 0);
    fill(b_in, ROOM, 82, 0);
    fill(c_in, ROOM, 83, 0);
    memcpy(m, c_in, sizeof m);
    memcpy(axpy, b_in, sizeof axpy);
    t->sgd(LENGTH_MAX, &p, a_in, b_in, sgd);
    t->momentum(LENGTH_MAX, &p, a_in, b_in, m, heavy);
    t->axpy(LENGTH_MAX, 0.7F, a_in, axpy);
    t->compensate(LENGTH_MAX, p.inv_count, 0.7F, b_in, a_in, c_in, late);
    for (size_t i = 0; i < LENGTH_MAX; i++) {
        volatile float gi = b_in[i] * p.inv_count, wi = p.l2 * a_in[i], u = gi + wi, step = p.lr * u;
        volatile float mi = p.momentum * c_in[i], m_new = mi + u, m_step = p.lr * m_new, product = 0.7F * a_in[i];
        cr_assert(same_float(sgd[i], a_in[i] - step), "%s sgd %zu", t->name, i);
        cr_assert(same_float(m[i], m_new), "%s momentum %zu", t->name, i);
        cr_assert(same_float(heavy[i], a_in[i] - m_step), "%s momentum %zu", t->name, i);
        volatile float once = 0.7F * gi, twice = once * gi, way = a_in[i] - c_in[i], more = twice * way;
        cr_assert(same_float(axpy[i], b_in[i] + product), "%s axpy %zu", t->name, i);
        cr_assert(same_float(late[i], gi + more), "%s compensate %zu", t->name, i);
    }
}

Test(kernels, update_rules_round_as_stated)
{
    for_each_version(check_rules);
}

Test(kernels, canonicalize_removes_the_negative_zero)
{
    float x[2] = {-0.0F, -1.0F};
    kernels_ref.canonicalize(2, x, x);
    cr_assert_not(signbit(x[0]));
    cr_assert_eq(x[1], -1.0F);
}

static void finite_sees_each(const struct kernels *table)
{
    static float x[ROOM];
    static const float BAD[] = {INFINITY, -INFINITY, NAN};
    for (size_t l = 0; l < ARRAY_LEN(LENGTHS); l++)
        for (size_t skew = 0; skew <= SKEW_MAX; skew++) {
            size_t n = LENGTHS[l];
            for (size_t i = 0; i < ROOM; i++)
                x[i] = i < skew || i >= skew + n ? NAN : i % 2 ? 0x1.fffffep127F : -0x1p-149F;
            cr_assert(table->finite(n, x + skew), "%s, %zu values", table->name, n);
            for (size_t i = 0; i < n; i += 1 + n / 70)
                for (size_t b = 0; b < ARRAY_LEN(BAD); b++) {
                    float was = x[skew + i];
                    x[skew + i] = BAD[b];
                    cr_assert_not(table->finite(n, x + skew), "%s: %g at %zu of %zu", table->name, (double)BAD[b], i,
                                  n);
                    x[skew + i] = was;
                }
        }
}

Test(kernels, finite_looks_at_each_element_and_no_other)
{
    for_each_version(finite_sees_each);
}

Test(kernels, select)
{
    dp_error err;
    cr_assert_eq(kernels_get(), &kernels_ref);
    cr_assert_eq(kernels_select("sse9", &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "sse9"));
    cr_assert_eq(kernels_get(), &kernels_ref);
    cr_assert_eq(kernels_select("auto", &err), DP_OK);
    const char *best = kernels_get()->name;
    for (size_t i = 0; i < ARRAY_LEN(VERSIONS); i++)
        if (kernels_select(VERSIONS[i], &err) == DP_OK) {
            cr_assert_str_eq(best, VERSIONS[i]); /* the first that can be had */
            break;
        }
    cr_assert_eq(kernels_select("ref", &err), DP_OK);
    cr_assert_str_eq(kernels_get()->name, "ref");
}

Test(kernels, fingerprint)
{
    dp_error err;
    blas_init();
    cr_assert_eq(kernels_select("auto", &err), DP_OK);
    const char *text = numerics_fingerprint();
    cr_assert_lt(strlen(text), 160);
    cr_assert_not_null(strstr(text, kernels_get()->name), "%s", text);
    cr_assert_not_null(strstr(text, "openblas-0."), "%s", text);
    cr_assert_null(strchr(text, '\n'));
    cr_assert_eq(kernels_select("ref", &err), DP_OK);
    cr_assert_not_null(strstr(numerics_fingerprint(), " ref "), "%s", numerics_fingerprint());
}
