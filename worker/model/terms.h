/* Regularizers and constraints that a model was trained with, for eval: R(theta), the distance from constraints, and
 * whether theta is stationary. Thread: any. */
#ifndef DP_WORKER_MODEL_TERMS_H
#define DP_WORKER_MODEL_TERMS_H

#include "common/options/options.h"
#include "common/terms/constraint.h"
#include "common/terms/regularize.h"
#include "common/terms/regularize_text.h"

struct model_terms {
    struct regularizers regularizers;
    struct constraints constraints;
};

/* As the options --l1, --l2, --group-lasso, --group-size and --constraint say. DP_USAGE, DP_IO. */
DP_MUST_CHECK dp_err model_terms_init(struct model_terms *terms, const struct option_list *l1,
                                      const struct option_list *l2, const struct option_list *group_lasso,
                                      uint64_t group_size, const struct option_list *constraint, dp_error *err);
void model_terms_fini(struct model_terms *terms);
bool model_terms_any(const struct model_terms *terms);

struct terms_result {
    double regularizer;  /* R */
    double violation;    /* |C|: the root of the sum of squares of what is violated */
    double stationarity; /* largest element of theta - prox(theta - gradient), all terms together: 0 exactly where the
                            conditions of Karush, Kuhn and Tucker hold (convex problems). NaN: the terms have no joint
                            proximal operator, as several rows of a linear constraint */
    uint64_t zeros;      /* exact ones, of all elements */
};

/* theta and the gradient of the mean data loss there; the gradient is used up. DP_USAGE: terms that do not fit the
 * tensors; DP_NOMEM. */
DP_MUST_CHECK dp_err model_terms_measure(struct model_terms *terms, const struct tensors *tensors, const float *theta,
                                         double *gradient, struct terms_result *ret_result, dp_error *err);

#endif
