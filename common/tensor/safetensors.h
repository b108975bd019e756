/* Models on disk in the safetensors format: 8 bytes little-endian header length, a JSON header
 * {"__metadata__": {string: string}, name: {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]}}, then the
 * bytes. Any tool of the field can open them. Thread: any. */
#ifndef DP_COMMON_TENSOR_SAFETENSORS_H
#define DP_COMMON_TENSOR_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/tensor/tensor.h"

enum { SAFETENSORS_META_MAX = 32 };

/* Metadata: string keys and values, heap owned by the struct. */
struct safetensors_meta {
    size_t count;
    char *keys[SAFETENSORS_META_MAX];
    char *values[SAFETENSORS_META_MAX];
};
/* Adds or replaces a key; the value is formatted. DP_NOMEM, DP_RANGE when full. */
DP_MUST_CHECK dp_err safetensors_meta_set(struct safetensors_meta *meta, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The value, or NULL. Borrowed. */
const char *safetensors_meta_get(const struct safetensors_meta *meta, const char *key);
void safetensors_meta_fini(struct safetensors_meta *meta);

/* Gives the values of elements [first, first + count) of theta, or NULL to fail; the pointer is valid until the next
 * call. */
typedef const float *(*safetensors_source)(void *arg, uint64_t first, uint64_t count);

/* Writes all tensors as F32, replacing `path` as a whole (file_replace). `source` is asked for consecutive runs of at
 * most `run_elems` elements, none of which crosses the end of theta. Bit t of `u64`: tensor t holds U64 instead, each
 * of which is two elements of theta, so that its shape has half of its elems. DP_IO. */
DP_MUST_CHECK dp_err safetensors_write(const char *path, const struct tensors *tensors, uint64_t u64,
                                       const struct safetensors_meta *meta, safetensors_source source, void *arg,
                                       uint64_t run_elems, dp_error *err);

/* The bytes before the values: length, header and blanks, a multiple of 64 bytes. Heap to *ret_head. DP_IO: out of
 * memory, or metadata that are not UTF-8. */
DP_MUST_CHECK dp_err safetensors_head(const struct tensors *tensors, uint64_t u64, const struct safetensors_meta *meta,
                                      char **ret_head, size_t *ret_bytes, dp_error *err);

#endif
