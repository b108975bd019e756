/* The update rules and what stands around them on vectors: included by kernels_simd.h. Invariant: per element the same
 * operations in the same order as kernels_rules_ref.c, which also does the last elements. Thread: any. */

typedef uint32_t v_word __attribute__((vector_size(SIMD_BYTES)));

SIMD_INLINE v_float splat_float(float x)
{
    return x - (v_float){0};
}

/* yes where the mask is all ones, no where it is zero. */
SIMD_INLINE v_float choose(v_word mask, v_float yes, v_float no)
{
    return (v_float)((mask & (v_word)yes) | (~mask & (v_word)no));
}

SIMD_INLINE v_float magnitude(v_float x)
{
    return (v_float)((v_word)x & 0x7FFFFFFFu);
}

SIMD_INLINE v_float with_sign(v_float of, v_float sign)
{
    return (v_float)(((v_word)of & 0x7FFFFFFFu) | ((v_word)sign & 0x80000000u));
}

/* S(x, a) with m = |x| - a. */
SIMD_INLINE v_float soft(v_float m, v_float x)
{
    return choose((v_word)(m <= 0), splat_float(0), with_sign(m, x));
}

static void simd_sgd(size_t n, const struct kernel_update *p, const float *w, const float *g, float *out)
{
    const struct kernel_update k = *p; /* a copy, since stores to out might change *p */
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float wi = load(w + i), u = load(g + i) * k.inv_count + k.l2 * wi;
        store(out + i, (wi - k.decay * wi) - k.lr * u);
    }
    if (i < n)
        kernels_ref.sgd(n - i, p, w + i, g + i, out + i);
}

static void simd_momentum(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float wi = load(w + i), u = load(g + i) * k.inv_count + k.l2 * wi;
        v_float mi = k.momentum * load(m + i) + u;
        store(m + i, mi);
        store(out + i, (wi - k.decay * wi) - k.lr * mi);
    }
    if (i < n)
        kernels_ref.momentum(n - i, p, w + i, g + i, m + i, out + i);
}

static void simd_nesterov(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float wi = load(w + i), u = load(g + i) * k.inv_count + k.l2 * wi;
        v_float mi = k.momentum * load(m + i) + u;
        store(m + i, mi);
        store(out + i, (wi - k.decay * wi) - k.lr * (u + k.momentum * mi));
    }
    if (i < n)
        kernels_ref.nesterov(n - i, p, w + i, g + i, m + i, out + i);
}

static void simd_adagrad(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float wi = load(w + i), u = load(g + i) * k.inv_count + k.l2 * wi;
        v_float vi = load(v + i) + u * u;
        store(v + i, vi);
        store(out + i, (wi - k.decay * wi) - k.lr * u / (SIMD_SQRT(vi) + k.eps));
    }
    if (i < n)
        kernels_ref.adagrad(n - i, p, w + i, g + i, v + i, out + i);
}

static void simd_rmsprop(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float wi = load(w + i), u = load(g + i) * k.inv_count + k.l2 * wi;
        v_float vi = k.beta2 * load(v + i) + k.gain2 * u * u;
        store(v + i, vi);
        store(out + i, (wi - k.decay * wi) - k.lr * u / (SIMD_SQRT(vi) + k.eps));
    }
    if (i < n)
        kernels_ref.rmsprop(n - i, p, w + i, g + i, v + i, out + i);
}

static void simd_adam(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *v,
                      float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float wi = load(w + i), u = load(g + i) * k.inv_count + k.l2 * wi;
        v_float mi = k.momentum * load(m + i) + k.gain1 * u;
        v_float vi = k.beta2 * load(v + i) + k.gain2 * u * u;
        store(m + i, mi);
        store(v + i, vi);
        store(out + i, (wi - k.decay * wi) - k.lr * (mi * k.m_scale) / (SIMD_SQRT(vi) * k.v_scale + k.eps));
    }
    if (i < n)
        kernels_ref.adam(n - i, p, w + i, g + i, m + i, v + i, out + i);
}

static void simd_ftrl(size_t n, const struct kernel_update *p, const float *w, const float *g, float *z, float *c,
                      float *low, float *out)
{
    const struct kernel_ftrl k = p->ftrl;
    size_t i = 0;
    for (; i + DOUBLES <= n; i += DOUBLES) {
        v_double wi = load_wide(w + i), u = load_wide(g + i) * k.scale, before = load_wide(c + i);
        v_double sum = load_wide(z + i) + load_wide(low + i), old = SIMD_SQRT_WIDE(before);
        store_narrow(c + i, before + u * u);
        v_double root = SIMD_SQRT_WIDE(load_wide(c + i));
        sum = sum + (k.gain * u - (root - old) * k.inv_alpha * wi);
        store_narrow(z + i, sum);
        store_narrow(low + i, sum - load_wide(z + i));
        v_double whole = load_wide(z + i) + load_wide(low + i), a = with_sign_of(whole, splat(0)) - k.l1;
        v_double wide = -with_sign_of(a, whole) / ((k.beta + root) * k.inv_alpha + k.l2);
        store_narrow(out + i, pick((v_bits)(a <= 0), splat(0), wide));
    }
    if (i < n)
        kernels_ref.ftrl(n - i, p, w + i, g + i, z + i, c + i, low + i, out + i);
}

static void simd_lars(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float wi = load(w + i), u = load(g + i) * k.inv_count + k.l2 * wi;
        v_float mi = k.momentum * load(m + i) + k.lr * u;
        store(m + i, mi);
        store(out + i, wi - mi);
    }
    if (i < n)
        kernels_ref.lars(n - i, p, w + i, g + i, m + i, out + i);
}

static void simd_moments(size_t n, const struct kernel_update *p, const float *g, float *m, float *v)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float u = load(g + i) * k.inv_count;
        store(m + i, k.momentum * load(m + i) + k.gain1 * u);
        store(v + i, k.beta2 * load(v + i) + k.gain2 * u * u);
    }
    if (i < n)
        kernels_ref.moments(n - i, p, g + i, m + i, v + i);
}

static void simd_lamb(size_t n, const struct kernel_update *p, const float *w, const float *m, const float *v,
                      float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float root = SIMD_SQRT(load(v + i));
        store(out + i, load(m + i) * k.m_scale / (root * k.v_scale + k.eps) + k.l2 * load(w + i));
    }
    if (i < n)
        kernels_ref.lamb(n - i, p, w + i, m + i, v + i, out + i);
}

static void simd_descend(size_t n, float a, const float *w, const float *d, float *out)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS)
        store(out + i, load(w + i) - a * load(d + i));
    if (i < n)
        kernels_ref.descend(n - i, a, w + i, d + i, out + i);
}

static void simd_compensate(size_t n, float inv_count, float a, const float *g, const float *w, const float *read,
                            float *out)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float u = load(g + i) * inv_count;
        store(out + i, u + a * u * u * (load(w + i) - load(read + i)));
    }
    if (i < n)
        kernels_ref.compensate(n - i, inv_count, a, g + i, w + i, read + i, out + i);
}

static void simd_clip(size_t n, float inv_count, float limit, const float *g, float *out)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float u = load(g + i) * inv_count;
        u = choose((v_word)(u < -limit), splat_float(-limit), u);
        store(out + i, choose((v_word)(u > limit), splat_float(limit), u));
    }
    if (i < n)
        kernels_ref.clip(n - i, inv_count, limit, g + i, out + i);
}

static void simd_clamp(size_t n, float lo, float hi, float *x)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float xi = load(x + i), y = choose((v_word)(xi < lo), splat_float(lo), xi);
        store(x + i, choose((v_word)(y > hi), splat_float(hi), y));
    }
    if (i < n)
        kernels_ref.clamp(n - i, lo, hi, x + i);
}

static void simd_scale(size_t n, float a, float *x)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS)
        store(x + i, a * load(x + i));
    if (i < n)
        kernels_ref.scale(n - i, a, x + i);
}

static void simd_shrink(size_t n, float a, float *x)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float xi = load(x + i);
        store(x + i, soft(magnitude(xi) - a, xi));
    }
    if (i < n)
        kernels_ref.shrink(n - i, a, x + i);
}

static void simd_shrink_by(size_t n, float a, const float *rate, float *x)
{
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS) {
        v_float xi = load(x + i);
        store(x + i, soft(magnitude(xi) - a * load(rate + i), xi));
    }
    if (i < n)
        kernels_ref.shrink_by(n - i, a, rate + i, x + i);
}

static void simd_rates(size_t n, const struct kernel_update *p, const float *v, float *out)
{
    const struct kernel_update k = *p;
    size_t i = 0;
    for (; i + FLOATS <= n; i += FLOATS)
        store(out + i, k.lr / (SIMD_SQRT(load(v + i)) * k.v_scale + k.eps));
    if (i < n)
        kernels_ref.rates(n - i, p, v + i, out + i);
}
