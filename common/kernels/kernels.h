/* Numeric kernels. One table of functions is filled at start-up with the best version the CPU has.
 *
 * - Arrays have n elements, are aligned to 4 bytes, and may be of any length, 0 included. `out` may be the same array
 * as an input; partial overlap is not allowed unless stated.
 * - Element-wise kernels equal kernels_ref.c bit for bit in every version: no FMA (-ffp-contract=off), IEEE denormals,
 * the order of operations written at the declaration. NaN and infinity pass through as IEEE arithmetic has them; which
 * of the NaNs a NaN result is, is unspecified.
 * - Reductions (double results) have the same bits in every version too: the sum over 8 interleaved lanes
 *   (element i goes to lane i mod 8), lanes added as ((0+4)+(2+6)) + ((1+5)+(3+7)).
 * - Transcendentals are ours, since libm's change bits with the CPU.
 * Thread: any; the table is written once, before threads start. */
#ifndef DP_COMMON_KERNELS_KERNELS_H
#define DP_COMMON_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

/* One commit of a run of elements, the same for all of them. In every rule u = g*inv_count + l2*w is the gradient (g
 * the sum over the step's samples) and r = w - decay*w what the step starts from; a field that a rule does not name is
 * not looked at. Each operation is rounded on its own, in the order written. */
struct kernel_update {
    float inv_count;    /* 1 / samples of the step */
    float lr;           /* eta */
    float l2;           /* coupled lambda_2, 0 where the tensor is not regularized; LARS, LAMB, FTRL have it inside */
    float decay;        /* decoupled decay of one commit, eta_e * lambda_2; 0: none */
    float momentum;     /* beta, beta1 */
    float gain1;        /* 1 - beta1 */
    float beta2, gain2; /* of the second moment and 1 - beta2 */
    float v_scale;      /* 1 / sqrt(1 - beta2^t), 1 without bias correction */
    float m_scale;      /* 1 / (1 - beta1^t) */
    float eps;
    struct kernel_ftrl { /* in double: z and t * lambda grow without bound, and w is what is left of their difference */
        double scale;    /* inv_count */
        double gain;     /* of the gradient in z, 1 for a whole step's */
        double inv_alpha, beta, l1, l2; /* 1 / alpha, beta, t * lambda_1, t * lambda_2 */
    } ftrl;
};

struct kernels {
    const char *name; /* "ref", "avx2", "avx512" */

    /* out = a + b */
    void (*add)(size_t n, const float *a, const float *b, float *out);
    /* out = x + 0.0f: -0 becomes +0, so that a skipped empty node and an added zero are the same bits */
    void (*canonicalize)(size_t n, const float *x, float *out);
    /* y = y + a*x, the product rounded before the sum */
    void (*axpy)(size_t n, float a, const float *x, float *y);

    /* out = e^x; error <= 0.52 ulp; x < -103.98 gives 0, x > 88.73 gives +inf. */
    void (*exp)(size_t n, const float *x, float *out);
    /* out = ln(1 + x) for x > -1; error <= 0.52 ulp; -1 gives -inf, below NaN. */
    void (*log1p)(size_t n, const float *x, float *out);
    /* out = tanh(x); error <= 0.52 ulp; odd, saturates at +-1. */
    void (*tanh)(size_t n, const float *x, float *out);

    double (*sum)(size_t n, const float *x);                 /* sum of x */
    double (*dot)(size_t n, const float *x, const float *y); /* sum of (double)x * (double)y */
    double (*sum_squares)(size_t n, const float *x);         /* sum of (double)x * (double)x */

    /* ---- update rules: `out` is w or another array; the l2 and decay terms are always computed ---- */

    /* out = r - lr*u */
    void (*sgd)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *out);
    /* m = momentum*m + u; out = r - lr*m (heavy ball, Polyak 1964, in torch.optim.SGD's form) */
    void (*momentum)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out);
    /* m = momentum*m + u; out = r - lr*(u + momentum*m) (Nesterov 1983, in torch.optim.SGD's form) */
    void (*nesterov)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out);
    /* v = v + u*u; out = r - lr*u / (sqrt(v) + eps) (Duchi et al. 2011) */
    void (*adagrad)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out);
    /* v = beta2*v + gain2*u*u; out = r - lr*u / (sqrt(v) + eps) (Tieleman & Hinton 2012) */
    void (*rmsprop)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out);
    /* m = momentum*m + gain1*u; v = beta2*v + gain2*u*u; out = r - lr*(m*m_scale) / (sqrt(v)*v_scale + eps) (Kingma &
     * Ba 2015) */
    void (*adam)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *v,
                 float *out);
    /* u = g*scale; s = c + u*u, rounded to float; d = (sqrt(s) - sqrt(c))*inv_alpha; z = z + (gain*u - d*w); c = s;
     * a = |z| - l1; out = 0 if a <= 0, else -(a with the sign of z) / ((beta + sqrt(s))*inv_alpha + l2)
     * (FTRL-Proximal, McMahan et al. 2013), the numbers being those of p->ftrl. In double, but for what is stored: c,
     * of which d is the difference so that the sum of all d is sqrt(c)*inv_alpha, and z as the sum of two floats z +
     * low, low = z + low - (z rounded to float). */
    void (*ftrl)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *z, float *c,
                 float *low, float *out);
    /* m = momentum*m + lr*u; out = w - m: lr is that of the tensor, with its trust ratio (LARS, You et al. 2017) */
    void (*lars)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out);
    /* u = g*inv_count; m = momentum*m + gain1*u; v = beta2*v + gain2*u*u (first half of LAMB, You et al. 2020) */
    void (*moments)(size_t n, const struct kernel_update *p, const float *g, float *m, float *v);
    /* out = m*m_scale / (sqrt(v)*v_scale + eps) + l2*w: LAMB's direction */
    void (*lamb)(size_t n, const struct kernel_update *p, const float *w, const float *m, const float *v, float *out);
    /* out = w - a*d */
    void (*descend)(size_t n, float a, const float *w, const float *d, float *out);

    /* ---- around the rules ---- */

    /* u = g*inv_count; out = u + a*u*u*(w - read): a gradient computed at `read`, brought to w (DC-ASGD, Zheng et al.
     * 2017) */
    void (*compensate)(size_t n, float inv_count, float a, const float *g, const float *w, const float *read,
                       float *out);
    /* out = g*inv_count, cut to [-limit, limit] */
    void (*clip)(size_t n, float inv_count, float limit, const float *g, float *out);
    /* x = x < lo ? lo : x > hi ? hi : x */
    void (*clamp)(size_t n, float lo, float hi, float *x);
    /* x = a*x */
    void (*scale)(size_t n, float a, float *x);
    /* Soft threshold: m = |x| - a; x = m <= 0 ? 0 : m with the sign of x */
    void (*shrink)(size_t n, float a, float *x);
    /* The same with a threshold a*rate[i] of each element */
    void (*shrink_by)(size_t n, float a, const float *rate, float *x);
    /* out = lr / (sqrt(v)*v_scale + eps): step sizes of the adaptive rules */
    void (*rates)(size_t n, const struct kernel_update *p, const float *v, float *out);
    /* Whether no element is an infinity or a NaN. */
    bool (*finite)(size_t n, const float *x);
};

extern const struct kernels kernels_ref;

/* The table in force; kernels_ref until kernels_select was called. */
const struct kernels *kernels_get(void);
/* "auto" takes the best this CPU has, "ref" the reference, "avx2" and "avx512" ask for one. DP_USAGE if it is unknown
 * or the CPU lacks it. Thread: main, before others start. */
DP_MUST_CHECK dp_err kernels_select(const char *name, dp_error *err);

#endif
