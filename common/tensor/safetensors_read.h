/* Models from disk; the format is described in safetensors.h. Thread: any. */
#ifndef DP_COMMON_TENSOR_SAFETENSORS_READ_H
#define DP_COMMON_TENSOR_SAFETENSORS_READ_H

#include "common/tensor/safetensors.h"

/* A model read back: heap, freed by safetensors_fini. */
struct safetensors {
    struct tensors tensors; /* in the order of their data; init and regularized are not stored */
    struct safetensors_meta meta;
    float *theta; /* tensors_total elements, end to end, cache-line aligned */
};
/* Reads and checks a file (F32 tensors only; sizes, overlaps, ranges, JSON depth and header size are checked before
 * allocation). DP_IO where it cannot be read, DP_DATA with the file's name and what is wrong otherwise. */
DP_MUST_CHECK dp_err safetensors_read(const char *path, struct safetensors *ret_model, dp_error *err);
/* The same from memory; `name` is used in errors. The fuzz target calls it. */
DP_MUST_CHECK dp_err safetensors_parse(const char *name, const void *data, size_t bytes, struct safetensors *ret_model,
                                       dp_error *err);
/* Index of a tensor by name, or -1. */
int safetensors_find(const struct safetensors *model, const char *name);
void safetensors_fini(struct safetensors *model);

#endif
