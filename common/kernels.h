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
#ifndef DP_KERNELS_H
#define DP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "dp_err.h"

/* One commit of a run of elements: u = g*inv_count (+ l2*w); w and g are floats; g is the sum over the step's samples.
 */
struct kernel_update {
    float inv_count; /* 1 / samples of the step */
    float lr;        /* eta */
    float l2;        /* coupled lambda_2, 0 where the tensor is not regularized */
    float momentum;  /* beta */
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

    /* u = g*inv_count + l2*w; out = w - lr*u. The l2 term is always computed (l2 = 0 adds 0*w). `out` is w or another
     * array. */
    void (*sgd)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *out);
    /* u as above; m = momentum*m + u; out = w - lr*m (heavy ball, Polyak 1964, in torch.optim.SGD's form). */
    void (*momentum)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out);
};

extern const struct kernels kernels_ref;

/* The table in force; kernels_ref until kernels_select was called. */
const struct kernels *kernels_get(void);
/* "auto" takes the best this CPU has, "ref" the reference, "avx2" and "avx512" ask for one. DP_USAGE if it is unknown
 * or the CPU lacks it. Thread: main, before others start. */
DP_MUST_CHECK dp_err kernels_select(const char *name, dp_error *err);

#endif
