/* The reference of the update kernels: what kernels_ref.c puts into its table. Thread: any. */
#ifndef DP_COMMON_KERNELS_KERNELS_RULES_H
#define DP_COMMON_KERNELS_KERNELS_RULES_H

#include "common/kernels/kernels.h"

void ref_sgd(size_t n, const struct kernel_update *p, const float *w, const float *g, float *out);
void ref_momentum(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out);
void ref_nesterov(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out);
void ref_adagrad(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out);
void ref_rmsprop(size_t n, const struct kernel_update *p, const float *w, const float *g, float *v, float *out);
void ref_adam(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *v, float *out);
void ref_ftrl(size_t n, const struct kernel_update *p, const float *w, const float *g, float *z, float *c, float *low,
              float *out);
void ref_lars(size_t n, const struct kernel_update *p, const float *w, const float *g, float *m, float *out);
void ref_moments(size_t n, const struct kernel_update *p, const float *g, float *m, float *v);
void ref_lamb(size_t n, const struct kernel_update *p, const float *w, const float *m, const float *v, float *out);
void ref_descend(size_t n, float a, const float *w, const float *d, float *out);
void ref_compensate(size_t n, float inv_count, float a, const float *g, const float *w, const float *read, float *out);
void ref_clip(size_t n, float inv_count, float limit, const float *g, float *out);
void ref_clamp(size_t n, float lo, float hi, float *x);
void ref_scale(size_t n, float a, float *x);
void ref_shrink(size_t n, float a, float *x);
void ref_shrink_by(size_t n, float a, const float *rate, float *x);
void ref_rates(size_t n, const struct kernel_update *p, const float *v, float *out);

#endif
