/* The losses: from scores to dLoss/dscore and metrics, as struct model has them. Thread: any. */
#ifndef DP_WORKER_MODEL_LOSS_H
#define DP_WORKER_MODEL_LOSS_H

#include "worker/model/model.h"

void loss_squared(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                  float *scores, struct model_scratch *scratch, dp_metrics *metrics);
void loss_logistic(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                   float *scores, struct model_scratch *scratch, dp_metrics *metrics);
void loss_softmax(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                  float *scores, struct model_scratch *scratch, dp_metrics *metrics);

#endif
