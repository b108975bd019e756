/* The reference of the update rules and of what stands around them: naive loops that the other versions equal bit for
 * bit. The formulas and their sources are in kernels.h. Thread: any. */
#include "common/kernels/kernels_rules.h"

#include <math.h>

void ref_sgd(size_t n, const struct kernel_update *p, const float *w, const float *g, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count + p->l2 * w[i];
        out[i] = (w[i] - p->decay * w[i]) - p->lr * u;
    }
}

void ref_momentum(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count + p->l2 * w[i];
        m[i] = p->momentum * m[i] + u;
        out[i] = (w[i] - p->decay * w[i]) - p->lr * m[i];
    }
}

void ref_nesterov(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count + p->l2 * w[i];
        m[i] = p->momentum * m[i] + u;
        out[i] = (w[i] - p->decay * w[i]) - p->lr * (u + p->momentum * m[i]);
    }
}

void ref_adagrad(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count + p->l2 * w[i];
        v[i] = v[i] + u * u;
        out[i] = (w[i] - p->decay * w[i]) - p->lr * u / (sqrtf(v[i]) + p->eps);
    }
}

void ref_rmsprop(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count + p->l2 * w[i];
        v[i] = p->beta2 * v[i] + p->gain2 * u * u;
        out[i] = (w[i] - p->decay * w[i]) - p->lr * u / (sqrtf(v[i]) + p->eps);
    }
}

void ref_adam(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *v, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count + p->l2 * w[i];
        m[i] = p->momentum * m[i] + p->gain1 * u;
        v[i] = p->beta2 * v[i] + p->gain2 * u * u;
        out[i] = (w[i] - p->decay * w[i]) - p->lr * (m[i] * p->m_scale) / (sqrtf(v[i]) * p->v_scale + p->eps);
    }
}

void ref_ftrl(size_t n, const struct kernel_update *p, const float *w, const float *g, float *z, float *c, float *low,
              float *out)
{
    const struct kernel_ftrl k = p->ftrl;
    for (size_t i = 0; i < n; i++) {
        double u = (double)g[i] * k.scale, before = (double)c[i];
        float s = (float)(before + u * u);
        double root = sqrt((double)s), d = (root - sqrt(before)) * k.inv_alpha;
        double sum = ((double)z[i] + (double)low[i]) + (k.gain * u - d * (double)w[i]);
        z[i] = (float)sum;
        low[i] = (float)(sum - (double)z[i]);
        c[i] = s;
        double whole = (double)z[i] + (double)low[i]; /* as whoever reads the state has it */
        double a = fabs(whole) - k.l1;
        out[i] = a <= 0 ? 0 : (float)(-copysign(a, whole) / ((k.beta + root) * k.inv_alpha + k.l2));
    }
}

void ref_lars(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count + p->l2 * w[i];
        m[i] = p->momentum * m[i] + p->lr * u;
        out[i] = w[i] - m[i];
    }
}

void ref_moments(size_t n, const struct kernel_update *p, const float *g, float *m, float *v)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * p->inv_count;
        m[i] = p->momentum * m[i] + p->gain1 * u;
        v[i] = p->beta2 * v[i] + p->gain2 * u * u;
    }
}

void ref_lamb(size_t n, const struct kernel_update *p, const float *w, const float *m, const float *v, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = m[i] * p->m_scale / (sqrtf(v[i]) * p->v_scale + p->eps) + p->l2 * w[i];
}

void ref_descend(size_t n, float a, const float *w, const float *d, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = w[i] - a * d[i];
}

void ref_compensate(size_t n, float inv_count, float a, const float *g, const float *w, const float *read, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * inv_count;
        out[i] = u + a * u * u * (w[i] - read[i]);
    }
}

void ref_clip(size_t n, float inv_count, float limit, const float *g, float *out)
{
    for (size_t i = 0; i < n; i++) {
        float u = g[i] * inv_count;
        u = u < -limit ? -limit : u;
        out[i] = u > limit ? limit : u;
    }
}

void ref_clamp(size_t n, float lo, float hi, float *x)
{
    for (size_t i = 0; i < n; i++) {
        float y = x[i] < lo ? lo : x[i];
        x[i] = y > hi ? hi : y;
    }
}

void ref_scale(size_t n, float a, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = a * x[i];
}

void ref_shrink(size_t n, float a, float *x)
{
    for (size_t i = 0; i < n; i++) {
        float m = fabsf(x[i]) - a;
        x[i] = m <= 0 ? 0 : copysignf(m, x[i]);
    }
}

void ref_shrink_by(size_t n, float a, const float *rate, float *x)
{
    for (size_t i = 0; i < n; i++) {
        float m = fabsf(x[i]) - a * rate[i];
        x[i] = m <= 0 ? 0 : copysignf(m, x[i]);
    }
}

void ref_rates(size_t n, const struct kernel_update *p, const float *v, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = p->lr / (sqrtf(v[i]) * p->v_scale + p->eps);
}
