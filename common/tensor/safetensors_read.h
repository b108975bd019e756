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
/* A model whose values stay in its file until they are asked for. */
struct safetensors_file {
    struct tensors tensors; /* in the order of their data; of U64 each element is two */
    uint64_t u64;           /* bit t: tensor t holds U64, as row ids of tables do */
    struct safetensors_meta meta;
    int fd;
    uint64_t values_at; /* byte at which the values begin */
    char *name;         /* for errors; heap */
};
/* Reads and checks the header, as safetensors_read does. */
DP_MUST_CHECK dp_err safetensors_open(const char *path, struct safetensors_file *ret_file, dp_error *err);
/* Elements [first, first + count) of all tensors end to end, as words. DP_IO naming the file. */
DP_MUST_CHECK dp_err safetensors_values(const struct safetensors_file *file, uint64_t first, uint64_t count, void *to,
                                        dp_error *err);
void safetensors_close(struct safetensors_file *file);

/* Index of a tensor by name, or -1. */
int safetensors_find(const struct safetensors *model, const char *name);
void safetensors_fini(struct safetensors *model);

#endif
