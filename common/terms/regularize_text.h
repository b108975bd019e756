/* Regularizers as users write them: X for all regularized tensors, X@TENSOR for one, which then counts instead.
 * Thread: any. */
#ifndef DP_COMMON_TERMS_REGULARIZE_TEXT_H
#define DP_COMMON_TERMS_REGULARIZE_TEXT_H

#include "common/terms/regularize.h"

struct strengths {
    uint32_t count;
    struct strength {
        double value;
        char tensor[TENSOR_NAME_MAX]; /* "": all */
    } list[TENSOR_COUNT_MAX];
};

struct regularizers {
    struct strengths l1, l2, group;
    uint64_t group_size; /* 0: a row, i.e. the elements of one index of the first dimension; a vector is one row */
};

/* Adds "X" or "X@TENSOR" of option `option` ("l2"). X >= 0, finite. DP_USAGE. */
DP_MUST_CHECK dp_err strengths_add(struct strengths *strengths, const char *option, const char *text, dp_error *err);
/* The value for a tensor of that name. */
double strengths_of(const struct strengths *strengths, const char *tensor);
/* Fills regular[tensor] for all tensors. DP_USAGE: a tensor that there is not, an intercept, or groups that do not fit
 * a tensor. */
DP_MUST_CHECK dp_err regularizers_resolve(const struct regularizers *regularizers, const struct tensors *tensors,
                                          struct regular *regular, dp_error *err);

#endif
