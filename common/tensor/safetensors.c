/* Models to disk: metadata, header and bytes of a safetensors file. Reading is in safetensors_read.c. Invariant: the
 * header is padded with blanks so that the data begin at a multiple of 64 bytes of the file. Thread: any. */
#include "common/tensor/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/util.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they stand in memory");

enum { LENGTH_BYTES = 8, ALIGN_BYTES = 64 };

static size_t meta_place(const struct safetensors_meta *meta, const char *key)
{
    size_t i = 0;
    while (i < meta->count && strcmp(meta->keys[i], key) != 0)
        i++;
    return i;
}

dp_err safetensors_meta_set(struct safetensors_meta *meta, const char *key, const char *fmt, ...)
{
    size_t at = meta_place(meta, key);
    if (at == SAFETENSORS_META_MAX)
        return DP_RANGE;
    char *value = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&value, fmt, args);
    va_end(args);
    if (n < 0)
        return DP_NOMEM;
    if (at == meta->count) {
        meta->keys[at] = strdup(key);
        if (!meta->keys[at]) {
            free(value);
            return DP_NOMEM;
        }
        meta->values[at] = NULL;
        meta->count++;
    }
    free(meta->values[at]);
    meta->values[at] = value;
    return DP_OK;
}

const char *safetensors_meta_get(const struct safetensors_meta *meta, const char *key)
{
    size_t at = meta_place(meta, key);
    return at < meta->count ? meta->values[at] : NULL;
}

void safetensors_meta_fini(struct safetensors_meta *meta)
{
    for (size_t i = 0; i < meta->count; i++) {
        free(meta->keys[i]);
        free(meta->values[i]);
    }
    *meta = (struct safetensors_meta){0};
}

/* The entry of tensor i, or NULL. */
static json_t *tensor_json(const struct tensors *tensors, uint32_t i, const char *dtype)
{
    const struct tensor *tensor = &tensors->list[i];
    uint64_t begin = tensors_offset(tensors, i) * sizeof(float), end = begin + tensor->elems * sizeof(float);
    json_t *shape = json_array();
    for (uint32_t d = 0; d < tensor->rank; d++)
        if (json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d]))) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype, "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)end);
}

static json_t *meta_json(const struct safetensors_meta *meta)
{
    json_t *object = json_object();
    for (size_t i = 0; i < meta->count; i++)
        if (json_object_set_new(object, meta->keys[i], json_string(meta->values[i]))) {
            json_decref(object);
            return NULL;
        }
    return object;
}

/* The header's text (heap), or NULL when out of memory or when a metadata value is not UTF-8. */
static char *header_text(const struct tensors *tensors, uint64_t u64, const struct safetensors_meta *meta)
{
    char *text = NULL;
    json_t *header = json_object();
    bool ok = header && (meta->count == 0 || json_object_set_new(header, "__metadata__", meta_json(meta)) == 0);
    for (uint32_t i = 0; ok && i < tensors->count; i++)
        ok = json_object_set_new(header, tensors->list[i].name,
                                 tensor_json(tensors, i, u64 >> i & 1 ? "U64" : "F32")) == 0;
    if (ok)
        text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

dp_err safetensors_head(const struct tensors *tensors, uint64_t u64, const struct safetensors_meta *meta,
                        char **ret_head, size_t *ret_bytes, dp_error *err)
{
    char *text = header_text(tensors, u64, meta);
    size_t n = text ? strlen(text) : 0, pad = (ALIGN_BYTES - (LENGTH_BYTES + n) % ALIGN_BYTES) % ALIGN_BYTES;
    char *head = text ? malloc(LENGTH_BYTES + n + pad) : NULL;
    uint64_t length = n + pad;
    if (head) {
        memcpy(head, &length, sizeof length);
        memcpy(head + LENGTH_BYTES, text, n);
        memset(head + LENGTH_BYTES + n, ' ', pad);
    }
    free(text);
    if (!head)
        return dp_fail(err, DP_IO, "cannot make the header: out of memory, or metadata that is not UTF-8");
    *ret_head = head;
    *ret_bytes = LENGTH_BYTES + n + pad;
    return DP_OK;
}

struct writing {
    const char *head;
    size_t head_bytes;
    const struct tensors *tensors;
    safetensors_source source;
    void *arg;
    uint64_t run_elems;
};

static dp_err write_all(void *arg, int fd, dp_error *err)
{
    const struct writing *w = arg;
    uint64_t total = tensors_total(w->tensors);
    dp_err e = file_write_all(fd, w->head, w->head_bytes, err);
    for (uint64_t first = 0; !e && first < total; first += w->run_elems) {
        uint64_t count = MIN(w->run_elems, total - first);
        const float *values = w->source(w->arg, first, count);
        if (!values)
            return dp_fail(err, DP_IO, "the values of the model are not at hand");
        e = file_write_all(fd, values, count * sizeof *values, err);
    }
    return e;
}

dp_err safetensors_write(const char *path, const struct tensors *tensors, uint64_t u64,
                         const struct safetensors_meta *meta, safetensors_source source, void *arg, uint64_t run_elems,
                         dp_error *err)
{
    assert(run_elems > 0);
    char *head = NULL;
    size_t head_bytes = 0;
    if (safetensors_head(tensors, u64, meta, &head, &head_bytes, err))
        return dp_fail_in(err, "%s", path);
    struct writing writing = {head, head_bytes, tensors, source, arg, run_elems};
    dp_err e = file_replace(path, write_all, &writing, err);
    free(head);
    return e;
}
