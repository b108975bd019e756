/* Models from disk. The bytes are anybody's: every number is checked before it is used, and memory is taken only for
 * data that are there. Invariant: tensors lie end to end in the order of their offsets and cover the data whole.
 * Thread: any. */
#include "common/tensor/safetensors_read.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum { LENGTH_BYTES = 8, HEADER_BYTES_MAX = 16 << 20, SHOWN_MAX = 40 };

/* An entry of the header before its tensor is made. */
struct entry {
    const char *name;
    const json_t *json;
    uint64_t begin;
    uint64_t end;
};

struct reading {
    const char *file;
    const unsigned char *data; /* the bytes behind the header */
    uint64_t data_bytes;
    struct entry entries[TENSOR_COUNT_MAX];
    size_t count;
    struct tensors *tensors;
    struct safetensors_meta *meta;
    uint64_t *u64; /* NULL: tensors of that type are refused */
    dp_error *err;
};

/* A name of the file as a message may show it. */
static const char *shown(char buf[SHOWN_MAX], const char *name)
{
    (void)str_copy(buf, SHOWN_MAX, name);
    for (char *c = buf; *c; c++)
        *c = isprint((unsigned char)*c) ? *c : '?';
    return buf;
}

static dp_err meta_read(struct reading *r, json_t *json)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return dp_fail(r->err, DP_DATA, "%s: __metadata__ is not an object of strings", r->file);
    json_object_foreach(json, key, value)
    {
        if (!json_is_string(value))
            return dp_fail(r->err, DP_DATA, "%s: __metadata__ is not an object of strings", r->file);
        dp_err e = safetensors_meta_set(r->meta, key, "%s", json_string_value(value));
        if (e == DP_RANGE)
            return dp_fail(r->err, DP_DATA, "%s: has more than %d keys of metadata", r->file, SAFETENSORS_META_MAX);
        if (e)
            return dp_fail(r->err, e, "%s: out of memory", r->file);
    }
    return DP_OK;
}

/* A non-negative integer, or false. */
static bool number_read(const json_t *json, uint64_t *ret_value)
{
    if (!json_is_integer(json) || json_integer_value(json) < 0)
        return false;
    *ret_value = (uint64_t)json_integer_value(json);
    return true;
}

static dp_err entry_read(struct reading *r, const char *name, const json_t *json)
{
    char buf[SHOWN_MAX];
    if (r->count == TENSOR_COUNT_MAX)
        return dp_fail(r->err, DP_DATA, "%s: has more than %d tensors", r->file, TENSOR_COUNT_MAX);
    struct entry *entry = &r->entries[r->count++];
    const json_t *offsets = json_object_get(json, "data_offsets");
    *entry = (struct entry){.name = name, .json = json};
    if (json_array_size(offsets) != 2 || !number_read(json_array_get(offsets, 0), &entry->begin) ||
        !number_read(json_array_get(offsets, 1), &entry->end) || entry->begin > entry->end)
        return dp_fail(r->err, DP_DATA, "%s: tensor '%s' has no data_offsets [begin, end]", r->file, shown(buf, name));
    if (entry->end > r->data_bytes)
        return dp_fail(r->err, DP_DATA,
                       "%s: truncated: tensor '%s' ends at byte %" PRIu64 " of the data, but there are %" PRIu64
                       "; export or copy the model again",
                       r->file, shown(buf, name), entry->end, r->data_bytes);
    return DP_OK;
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Adds the entry's tensor, which must begin where the one before it ended. */
static dp_err tensor_read(struct reading *r, const struct entry *entry)
{
    char buf[SHOWN_MAX];
    uint64_t shape[TENSOR_RANK_MAX] = {0}, at = tensors_total(r->tensors) * sizeof(float);
    const json_t *json_shape = json_object_get(entry->json, "shape");
    const char *dtype = json_string_value(json_object_get(entry->json, "dtype"));
    size_t rank = json_array_size(json_shape);
    const bool ids = dtype && strcmp(dtype, "U64") == 0;
    if (ids && !r->u64)
        return dp_fail(r->err, DP_DATA,
                       "%s: tensor '%s' is of dtype U64, as the row ids of tables are that programs on libdp train: "
                       "only those know what the rows mean",
                       r->file, shown(buf, entry->name));
    if (!ids && (!dtype || strcmp(dtype, "F32") != 0))
        return dp_fail(r->err, DP_DATA, "%s: tensor '%s' is not of dtype F32; convert it", r->file,
                       shown(buf, entry->name));
    for (size_t d = 0; d < rank && d < TENSOR_RANK_MAX; d++)
        if (!number_read(json_array_get(json_shape, d), &shape[d]))
            return dp_fail(r->err, DP_DATA, "%s: the shape of tensor '%s' is not made of integers", r->file,
                           shown(buf, entry->name));
    dp_error why = {0};
    if (tensors_add(r->tensors, entry->name, (uint32_t)MIN(rank, (size_t)TENSOR_RANK_MAX + 1), shape, INIT_ZEROS, 0,
                    false, &why))
        return dp_fail(r->err, DP_DATA, "%s: %s", r->file, why.text);
    struct tensor *tensor = &r->tensors->list[r->tensors->count - 1];
    if (ids) {
        tensor->elems *= 2; /* of 2^40 at most */
        *r->u64 |= UINT64_C(1) << (r->tensors->count - 1);
    }
    uint64_t elems = tensor->elems;
    if (entry->begin != at)
        return dp_fail(r->err, DP_DATA,
                       "%s: tensor '%s' begins at byte %" PRIu64 ", but the one before it ends at %" PRIu64, r->file,
                       shown(buf, entry->name), entry->begin, at);
    if (entry->end - entry->begin != elems * sizeof(float))
        return dp_fail(r->err, DP_DATA, "%s: tensor '%s' has %" PRIu64 " bytes, but its shape needs %" PRIu64, r->file,
                       shown(buf, entry->name), entry->end - entry->begin, elems * (uint64_t)sizeof(float));
    return DP_OK;
}

/* Everything that the header says. */
static dp_err tensors_read(struct reading *r, json_t *header)
{
    const char *key;
    json_t *value;
    dp_err e = DP_OK;
    json_object_foreach(header, key, value)
    {
        e = strcmp(key, "__metadata__") == 0 ? meta_read(r, value) : entry_read(r, key, value);
        if (e)
            return e;
    }
    if (r->count == 0)
        return dp_fail(r->err, DP_DATA, "%s: has no tensors", r->file);
    qsort(r->entries, r->count, sizeof *r->entries, entry_compare);
    for (size_t i = 0; !e && i < r->count; i++)
        e = tensor_read(r, &r->entries[i]);
    if (e)
        return e;
    uint64_t total = tensors_total(r->tensors);
    if (total * sizeof(float) != r->data_bytes)
        return dp_fail(r->err, DP_DATA, "%s: %" PRIu64 " bytes follow the tensors; export or copy the model again",
                       r->file, r->data_bytes - total * sizeof(float));
    return DP_OK;
}

static dp_err values_read(struct reading *r, float **ret_theta)
{
    uint64_t total = tensors_total(r->tensors);
    if (mem_check_room(r->file, r->data_bytes, r->err))
        return DP_NOMEM;
    float *theta = mem_array(total, sizeof(float));
    if (!theta)
        return dp_fail(r->err, DP_NOMEM, "%s: not enough memory for %" PRIu64 " parameters", r->file, total);
    memcpy(theta, r->data, r->data_bytes);
    *ret_theta = theta;
    return DP_OK;
}

/* The length of the header, by the first bytes of a file of `size` bytes: LENGTH_BYTES + 1, or all. */
static dp_err length_read(struct reading *r, const unsigned char *bytes, uint64_t size, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (size >= LENGTH_BYTES)
        memcpy(&length, bytes, LENGTH_BYTES);
    if (size <= LENGTH_BYTES || bytes[LENGTH_BYTES] != '{')
        return dp_fail(r->err, DP_DATA, "%s: is no safetensors file; give a model that dp-server has exported",
                       r->file);
    if (length > size - LENGTH_BYTES || length > HEADER_BYTES_MAX)
        return dp_fail(r->err, DP_DATA,
                       "%s: its header has %" PRIu64 " bytes, but %" PRIu64 " follow and %d are allowed; export or "
                       "copy the model again",
                       r->file, length, size - LENGTH_BYTES, HEADER_BYTES_MAX);
    *ret_length = length;
    return DP_OK;
}

/* The header as JSON, and where the data are; `size` is that of the whole file. */
static dp_err header_read(struct reading *r, const unsigned char *bytes, uint64_t size, json_t **ret_header)
{
    uint64_t length = 0;
    dp_err e = length_read(r, bytes, size, &length);
    if (e)
        return e;
    json_error_t why;
    json_t *header = json_loadb((const char *)bytes + LENGTH_BYTES, length, JSON_REJECT_DUPLICATES, &why);
    if (!header)
        return dp_fail(r->err, DP_DATA, "%s: its header is no JSON (byte %d): %.100s", r->file, why.position, why.text);
    r->data = bytes + LENGTH_BYTES + length;
    r->data_bytes = size - LENGTH_BYTES - length;
    *ret_header = header;
    return DP_OK;
}

dp_err safetensors_parse(const char *name, const void *data, size_t bytes, struct safetensors *ret_model, dp_error *err)
{
    AUTOFREE struct safetensors *model = mem_array_zero(1, sizeof *model);
    AUTOFREE struct reading *r = mem_array_zero(1, sizeof *r);
    if (!model || !r)
        return dp_fail(err, DP_NOMEM, "%s: out of memory", name);
    json_t *header = NULL;
    r->file = name;
    r->tensors = &model->tensors;
    r->meta = &model->meta;
    r->err = err;
    dp_err e = header_read(r, data, bytes, &header);
    if (!e)
        e = tensors_read(r, header);
    if (!e)
        e = values_read(r, &model->theta);
    json_decref(header);
    if (e)
        safetensors_fini(model);
    else
        *ret_model = *model;
    return e;
}

static dp_err size_read(const char *path, int fd, uint64_t *ret_size, dp_error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return dp_fail(err, DP_IO, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return dp_fail(err, DP_IO, "%s: is not a file; give a model that dp-server has exported", path);
    *ret_size = (uint64_t)st.st_size;
    return DP_OK;
}

static dp_err bytes_read(const char *path, int fd, void *to, size_t bytes, uint64_t at, dp_error *err)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(fd, (char *)to + done, MIN(bytes - done, (size_t)1 << 30), (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dp_fail(err, DP_IO, "%s: cannot be read: %s", path, n < 0 ? strerror(errno) : "it became shorter");
        done += (size_t)n;
    }
    return DP_OK;
}

/* The whole of an open file. */
static dp_err file_read(const char *path, int fd, unsigned char **ret_bytes, size_t *ret_size, dp_error *err)
{
    uint64_t size = 0;
    dp_err e = size_read(path, fd, &size, err);
    if (!e)
        e = mem_check_room(path, size, err);
    if (e)
        return e;
    unsigned char *bytes = mem_array((size_t)size, 1);
    if (!bytes)
        return dp_fail(err, DP_NOMEM, "%s: not enough memory to hold the file (%" PRIu64 " bytes)", path, size);
    e = bytes_read(path, fd, bytes, (size_t)size, 0, err);
    if (e) {
        free(bytes);
        return e;
    }
    *ret_size = (size_t)size;
    *ret_bytes = bytes;
    return DP_OK;
}

dp_err safetensors_read(const char *path, struct safetensors *ret_model, dp_error *err)
{
    AUTOFREE unsigned char *bytes = NULL;
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%s: cannot be opened: %s", path, strerror(errno));
    dp_err e = file_read(path, fd, &bytes, &size, err);
    close(fd);
    return e ? e : safetensors_parse(path, bytes, size, ret_model, err);
}

/* ---- values that stay in the file ---- */

/* The bytes up to the values, heap. */
static dp_err head_read(struct reading *r, int fd, uint64_t size, unsigned char **ret_bytes)
{
    unsigned char first[LENGTH_BYTES + 1] = {0};
    uint64_t length = 0;
    dp_err e = bytes_read(r->file, fd, first, (size_t)MIN(size, (uint64_t)sizeof first), 0, r->err);
    if (!e)
        e = length_read(r, first, size, &length);
    if (e)
        return e;
    *ret_bytes = mem_array(LENGTH_BYTES + (size_t)length, 1); /* the caller's, whatever comes of it */
    if (!*ret_bytes)
        return dp_fail(r->err, DP_NOMEM, "%s: out of memory", r->file);
    return bytes_read(r->file, fd, *ret_bytes, LENGTH_BYTES + (size_t)length, 0, r->err);
}

static dp_err file_open(struct reading *r, int fd, struct safetensors_file *file)
{
    AUTOFREE unsigned char *bytes = NULL;
    uint64_t size = 0;
    json_t *header = NULL;
    dp_err e = size_read(r->file, fd, &size, r->err);
    if (!e)
        e = head_read(r, fd, size, &bytes);
    if (!e)
        e = header_read(r, bytes, size, &header);
    if (!e)
        e = tensors_read(r, header);
    json_decref(header);
    file->values_at = e ? 0 : size - r->data_bytes;
    return e;
}

dp_err safetensors_open(const char *path, struct safetensors_file *ret_file, dp_error *err)
{
    AUTOFREE struct reading *r = mem_array_zero(1, sizeof *r);
    AUTOFREE struct safetensors_file *file = mem_array_zero(1, sizeof *file);
    if (!r || !file || !(file->name = strdup(path)))
        return dp_fail(err, DP_NOMEM, "%s: out of memory", path);
    file->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    r->file = file->name;
    r->tensors = &file->tensors;
    r->meta = &file->meta;
    r->u64 = &file->u64;
    r->err = err;
    dp_err e = file->fd >= 0 ? file_open(r, file->fd, file)
                             : dp_fail(err, DP_IO, "%s: cannot be opened: %s", path, strerror(errno));
    if (e)
        safetensors_close(file);
    else
        *ret_file = *file;
    return e;
}

dp_err safetensors_values(const struct safetensors_file *file, uint64_t first, uint64_t count, void *to, dp_error *err)
{
    return bytes_read(file->name, file->fd, to, (size_t)count * sizeof(float), file->values_at + first * sizeof(float),
                      err);
}

void safetensors_close(struct safetensors_file *file)
{
    if (file->name && file->fd >= 0)
        close(file->fd);
    free(file->name);
    safetensors_meta_fini(&file->meta);
    *file = (struct safetensors_file){.fd = -1};
}

int safetensors_find(const struct safetensors *model, const char *name)
{
    for (uint32_t i = 0; i < model->tensors.count; i++)
        if (strcmp(model->tensors.list[i].name, name) == 0)
            return (int)i;
    return -1;
}

void safetensors_fini(struct safetensors *model)
{
    safetensors_meta_fini(&model->meta);
    free(model->theta);
    *model = (struct safetensors){0};
}
