/* Models: from theta and some rows to the sum of their gradients and metrics. They know no network. Thread: any; a
 * model_scratch belongs to one thread.
 *
 * Tensors (docs: shape; d features, C classes):
 *   linear, logistic: weight [d], bias [1]
 *   softmax: weight [d, C], bias [C]
 * bias only with intercept; zeros at start. If the weight is a table, theta begins with the bias, and `features` are
 * the rows of the table that stand in theta: those that the data's columns touch.
 *
 * Losses: linear 1/2 (x.w + b - y)^2; logistic log(1 + exp(-y s)), y in {-1, +1}; softmax cross-entropy with natural
 * logarithm.
 *
 * The gradient of a slot is a pure function of (theta, rows in order): sparse input by plain loops in row order, dense
 * input by one BLAS call each for scores and gradient; never -0. worker/model/README.md has the exact order of
 * operations. */
#ifndef DP_WORKER_MODEL_MODEL_H
#define DP_WORKER_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/tensor/question.h"
#include "common/tensor/tensor.h"
#include "worker/data/data.h"
#include "worker/dp.h"

struct model_spec {
    uint64_t features; /* d */
    uint32_t classes;  /* C for softmax, 0 elsewhere */
    bool intercept;
    bool table; /* the weight is a table; sparse data only */
};

struct model_scratch;

/* One kind of model: a row of the table in model.c. */
struct model {
    const char *name;
    bool classifies; /* has labels to map and an accuracy */
    bool multiclass; /* one score per class: the spec has classes >= 2; else one score, and classes is 0 */
    /* Adds its tensors to *tensors. */
    dp_err (*declare)(const struct model_spec *spec, struct tensors *tensors, dp_error *err);
    /* Scores of `count` rows: [count] (linear, logistic) or [count * C] (softmax) to scores. */
    void (*scores)(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                   const float *theta, struct model_scratch *scratch, float *scores);
    /* Turns scores into dLoss/dscore in place and adds up metrics. targets[row] is the class index (softmax), -1/+1
     * (logistic) or y (linear). */
    void (*residuals)(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                      float *scores, struct model_scratch *scratch, dp_metrics *metrics);
    /* From dLoss/dscore to the sum of gradients, written whole to grad[theta elements]; count may be 0. Follows
     * `scores` of the same rows and theta with the same scratch, which keeps what it needs from there. */
    void (*backward)(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                     const float *theta, const float *residuals, struct model_scratch *scratch, float *grad);
};

/* By name, or NULL. */
const struct model *model_find(const char *name);
/* "linear|logistic|softmax" */
const char *model_names(void);

/* Sum of gradients over the rows to grad[theta elements] (overwritten whole), metrics added to *metrics. count <=
 * rows_max of the scratch. theta and grad are cache-line aligned: the bits of BLAS may depend on it. Sparse data may
 * have fewer features than the spec, dense data have as many. */
void model_gradient(const struct model *model, const struct model_spec *spec, const struct data *data,
                    const float *targets, const uint64_t *rows, size_t count, const float *theta,
                    struct model_scratch *scratch, float *grad, dp_metrics *metrics);
/* Metrics only, of any number of rows, in runs whose length is a function of the spec alone. */
void model_evaluate(const struct model *model, const struct model_spec *spec, const struct data *data,
                    const float *targets, const uint64_t *rows, size_t count, const float *theta,
                    struct model_scratch *scratch, dp_metrics *metrics);
/* Answers a question about the rows by one of these; `answer` is what is pushed, NULL where nothing is. */
void model_answer(const struct model *model, const struct question *asks, const struct model_spec *spec,
                  const struct data *data, const float *targets, const uint64_t *rows, size_t count, const float *theta,
                  struct model_scratch *scratch, float *answer, dp_metrics *metrics);

#endif
