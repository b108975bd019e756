/* What the files of the models share. Internal to them. */
#ifndef DP_WORKER_MODEL_PARTS_H
#define DP_WORKER_MODEL_PARTS_H

#include "worker/model/model.h"

/* Buffers of one thread, all cache-line aligned so that BLAS sees the same alignment always. */
struct model_scratch {
    size_t rows_max; /* of a slot */
    size_t run_rows; /* of a run of an evaluation */
    float *x;        /* dense: the rows of the slot, [rows_max * d] */
    float *scores;   /* [rows_max * width] */
    float *work;     /* [rows_max * width] */
    float *rest;     /* [rows_max] */
    float *logs;     /* [rows_max] */
    void *blas_room; /* dense, before the first call of BLAS: what its buffer will take */
};

/* OpenBLAS makes a buffer for each thread that calls it, and where memory is refused it asks again for ever: so much at
 * most. */
enum { BLAS_ROOM_BYTES = 129 << 20 };
/* To be called before BLAS is. */
void scratch_give_blas_room(struct model_scratch *scratch);

/* Scores of a row: C, or 1 for models without classes. */
static inline size_t model_width(const struct model_spec *spec)
{
    return spec->classes ? spec->classes : 1;
}

/* weight and bias of the linear models; linear.c. */
dp_err linear_declare(const struct model_spec *spec, struct tensors *tensors, dp_error *err);
void linear_scores(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                   const float *theta, struct model_scratch *scratch, float *scores);
void linear_backward(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                     const float *theta, const float *residuals, struct model_scratch *scratch, float *grad);

/* The losses; loss.c. */
void loss_squared(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                  float *scores, struct model_scratch *scratch, dp_metrics *metrics);
void loss_logistic(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                   float *scores, struct model_scratch *scratch, dp_metrics *metrics);
void loss_softmax(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                  float *scores, struct model_scratch *scratch, dp_metrics *metrics);

#endif
