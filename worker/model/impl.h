/* The buffers of a scratch, for the models. */
#ifndef DP_WORKER_MODEL_IMPL_H
#define DP_WORKER_MODEL_IMPL_H

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

/* Scores of a row: C, or 1 for models without classes. */
static inline size_t model_width(const struct model_spec *spec)
{
    return spec->classes ? spec->classes : 1;
}

#endif
