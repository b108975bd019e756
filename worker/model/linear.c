/* Scores x.W + b and their gradient, for one score (linear, logistic) or C of them (softmax).
 * Invariants: sparse rows are summed in plain order, entry by entry and row by row, with one rounding per product and
 * per sum; dense rows are gathered to the scratch, so that one BLAS call of one shape and alignment sees them wherever
 * they stand. Outputs of BLAS begin as zeros and beta is 1: with beta 0 it may multiply what was there. Thread: any. */
#include "worker/model/linear.h"

#include <assert.h>
#include <cblas.h>
#include <string.h>

#include "common/kernels/kernels.h"
#include "worker/model/impl.h"
#include "worker/model/scratch.h"

dp_err linear_declare(const struct model_spec *spec, struct tensors *tensors, dp_error *err)
{
    const uint64_t shape[2] = {spec->features, spec->classes};
    const uint32_t rank = spec->classes ? 2 : 1;
    dp_err e = spec->table ? tensors_add_table(tensors, "weight", TENSOR_TABLE, rank, shape, INIT_ZEROS, 0, true, err)
                           : tensors_add(tensors, "weight", rank, shape, INIT_ZEROS, 0, true, err);
    if (e || !spec->intercept)
        return e;
    const uint64_t width = model_width(spec);
    return tensors_add(tensors, "bias", 1, &width, INIT_ZEROS, 0, false, err);
}

/* Offsets of the weight and the bias in theta: dense tensors come before the rows of tables. */
static size_t weight_at(const struct model_spec *spec)
{
    return spec->table && spec->intercept ? model_width(spec) : 0;
}

static size_t bias_at(const struct model_spec *spec)
{
    return spec->table ? 0 : spec->features * model_width(spec);
}

static void sparse_scores(size_t width, const struct data *data, const uint64_t *rows, size_t count, const float *w,
                          float *scores)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t end = data->row_at[rows[i] + 1];
        float sum = 0;
        if (width == 1) {
            for (uint64_t e = data->row_at[rows[i]]; e < end; e++)
                sum += data->values[e] * w[data->columns[e]];
            scores[i] = sum;
            continue;
        }
        float *restrict out = scores + i * width;
        memset(out, 0, width * sizeof *out);
        for (uint64_t e = data->row_at[rows[i]]; e < end; e++) {
            const float value = data->values[e], *restrict from = w + data->columns[e] * width;
            for (size_t c = 0; c < width; c++)
                out[c] += value * from[c];
        }
    }
}

static void sparse_backward(size_t width, const struct data *data, const uint64_t *rows, size_t count,
                            const float *residuals, float *grad)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t end = data->row_at[rows[i] + 1];
        const float *restrict r = residuals + i * width;
        for (uint64_t e = data->row_at[rows[i]]; e < end; e++) {
            const float value = data->values[e];
            float *restrict out = grad + data->columns[e] * width;
            for (size_t c = 0; c < width; c++)
                out[c] += value * r[c];
        }
    }
}

static void rows_gather(const struct data *data, const uint64_t *rows, size_t count, float *x)
{
    size_t d = data->features;
    for (size_t i = 0; i < count; i++)
        memcpy(x + i * d, data->values + rows[i] * d, d * sizeof *x);
}

/* scores = X W */
static void dense_scores(size_t d, size_t width, size_t count, const float *x, const float *w, float *scores)
{
    const int k = (int)d, n = (int)width, m = (int)count;
    memset(scores, 0, count * width * sizeof *scores);
    if (width == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, m, k, 1, x, k, w, 1, 1, scores, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, x, k, w, n, 1, scores, n);
}

/* grad = X' R, into zeros */
static void dense_backward(size_t d, size_t width, size_t count, const float *x, const float *residuals, float *grad)
{
    const int k = (int)d, n = (int)width, m = (int)count;
    if (width == 1)
        cblas_sgemv(CblasRowMajor, CblasTrans, m, k, 1, x, k, residuals, 1, 1, grad, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, n, m, 1, x, k, residuals, n, 1, grad, n);
    kernels_get()->canonicalize(d * width, grad, grad);
}

void linear_scores(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                   const float *theta, struct model_scratch *scratch, float *scores)
{
    const size_t width = model_width(spec);
    assert(data_is_sparse(data) ? data->features <= spec->features : data->features == spec->features);
    if (data_is_sparse(data)) {
        sparse_scores(width, data, rows, count, theta + weight_at(spec), scores);
    } else if (count) {
        rows_gather(data, rows, count, scratch->x);
        scratch_give_blas_room(scratch);
        dense_scores(spec->features, width, count, scratch->x, theta, scores);
    }
    const float *bias = theta + bias_at(spec);
    for (size_t i = 0; spec->intercept && i < count; i++)
        for (size_t c = 0; c < width; c++)
            scores[i * width + c] += bias[c];
}

void linear_backward(const struct model_spec *spec, const struct data *data, const uint64_t *rows, size_t count,
                     const float *theta, const float *residuals, struct model_scratch *scratch, float *grad)
{
    (void)theta;
    const size_t width = model_width(spec), weights = spec->features * width;
    /* A sum that begins with +0 is never -0, so only what BLAS wrote needs canonicalizing. */
    memset(grad, 0, (weights + (spec->intercept ? width : 0)) * sizeof *grad);
    if (data_is_sparse(data))
        sparse_backward(width, data, rows, count, residuals, grad + weight_at(spec));
    else if (count)
        dense_backward(spec->features, width, count, scratch->x, residuals, grad);
    float *bias = grad + bias_at(spec);
    for (size_t i = 0; spec->intercept && i < count; i++)
        for (size_t c = 0; c < width; c++)
            bias[c] += residuals[i * width + c];
}
