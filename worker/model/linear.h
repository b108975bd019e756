/* weight and bias of the linear models: scores x.W + b and their gradient, as struct model has them. Thread: any. */
#ifndef DP_WORKER_MODEL_LINEAR_H
#define DP_WORKER_MODEL_LINEAR_H

#include "worker/model/model.h"

dp_err linear_declare(const struct model_spec *spec, struct tensors *tensors, dp_error *err);
void linear_scores(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                   const float *theta, struct model_scratch *scratch, float *scores);
void linear_backward(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                     const float *theta, const float *residuals, struct model_scratch *scratch, float *grad);

#endif
