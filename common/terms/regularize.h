/* Regularizers: the proximal step of the non-smooth ones, and the value of R. L2 enters through the gradient or as
 * decoupled decay, the update rule's business; L1 and groups act here, once per commit, so that zeros are exact.
 *
 * R(w) = l1 |w|_1 + l2/2 |w|^2 + group * sum over groups |w_g|. Thread: any. */
#ifndef DP_COMMON_TERMS_REGULARIZE_H
#define DP_COMMON_TERMS_REGULARIZE_H

#include <stddef.h>
#include <stdint.h>

#include "common/tensor/tensor.h"

/* Regularization of one tensor. */
struct regular {
    double l1, l2, group;
    uint64_t group_size; /* elements of a group; they lie side by side */
};

/* The proximal step of L1, then that of groups, is the one of both (sparse group lasso, Simon et al. 2013), with a step
 * size of each element, `rates`, or NULL: with `rate` for all. Beside constraints: joint.h. */

/* w = S(w, rate*l1). */
void prox_l1(const struct regular *regular, double rate, const float *rates, size_t n, float *w);
/* Each group scaled by max(0, 1 - rate*group/|w_g|); with `rates` the proximal operator in the metric 1/rate_i, |w_g|
 * being the root s of sum v_i^2/(s + rate_i*group)^2 = 1. n is a multiple of the group size. */
void prox_groups(const struct regular *regular, double rate, const float *rates, size_t n, float *w);

/* Sums that R is made of, over a run of whole groups. */
struct regular_sums {
    double magnitudes, squares, group_norms, zeros;
};
struct regular_sums regular_sums(const struct regular *regular, size_t n, const float *w);
double regular_value(const struct regular *regular, const struct regular_sums *sums);

#endif
