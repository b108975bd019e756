/* IDX, the format of MNIST: 00 00 TYPE RANK, RANK big-endian 32-bit sizes, then big-endian values. Unsigned bytes of a
 * feature file are scaled by 1/255; other types are taken as they are. Labels stand in a file of their own with one
 * dimension, never scaled. Thread: any. */
#include "worker/data/idx.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "worker/data/parse/label.h"
#include "worker/data/parse/number.h"
#include "worker/data/parse/text.h"

enum { IDX_RANK_MAX = 8, IDX_HEAD_BYTES = 4 };
enum idx_type {
    IDX_UBYTE = 0x08,
    IDX_BYTE = 0x09,
    IDX_SHORT = 0x0b,
    IDX_INT = 0x0c,
    IDX_FLOAT = 0x0d,
    IDX_DOUBLE = 0x0e
};

struct idx {
    struct text text; /* for the name only */
    enum idx_type type;
    uint32_t rank;
    uint64_t rows;
    uint64_t columns; /* product of the sizes behind the first */
    const unsigned char *values;
};

static size_t type_bytes(unsigned type)
{
    switch (type) {
    case IDX_UBYTE:
    case IDX_BYTE:
        return 1;
    case IDX_SHORT:
        return 2;
    case IDX_INT:
    case IDX_FLOAT:
        return 4;
    case IDX_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

bool idx_detect(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    return size >= IDX_HEAD_BYTES && b[0] == 0 && b[1] == 0 && type_bytes(b[2]) > 0;
}

/* `n` big-endian bytes. */
static uint64_t big_endian(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* Value i as it stands in the file. */
static double value_at(const struct idx *idx, uint64_t i)
{
    size_t n = type_bytes(idx->type);
    uint64_t bits = big_endian(idx->values + i * n, n);
    uint32_t low = (uint32_t)bits;
    float f;
    double d;
    switch (idx->type) {
    case IDX_BYTE:
        return (int8_t)bits;
    case IDX_SHORT:
        return (int16_t)bits;
    case IDX_INT:
        return (int32_t)bits;
    case IDX_FLOAT:
        memcpy(&f, &low, sizeof f);
        return (double)f;
    case IDX_DOUBLE:
        memcpy(&d, &bits, sizeof d);
        return d;
    case IDX_UBYTE:
    default:
        return (double)bits;
    }
}

/* The sizes; every product is checked before it is used. */
static dp_err dims_read(struct idx *idx, const unsigned char *b, size_t size, dp_error *err)
{
    const char *name = idx->text.name;
    size_t head = IDX_HEAD_BYTES + (size_t)idx->rank * 4;
    if (size < head)
        return dp_fail(err, DP_DATA, "%s: ends within its IDX header; copy or download it again", name);
    uint64_t bytes = type_bytes(idx->type);
    idx->columns = 1;
    for (size_t i = 0; i < idx->rank; i++) {
        uint64_t dim = big_endian(b + IDX_HEAD_BYTES + i * 4, 4);
        if (dim == 0)
            return dp_fail(err, DP_DATA, "%s: dimension %zu of its IDX header is 0, so there are no values", name, i);
        if (__builtin_mul_overflow(bytes, dim, &bytes))
            return dp_fail(err, DP_DATA, "%s: the dimensions of its IDX header are too large", name);
        idx->rows = i ? idx->rows : dim;
        idx->columns = i ? idx->columns * dim : 1;
    }
    if (bytes != size - head)
        return dp_fail(err, DP_DATA,
                       "%s: its IDX header says %" PRIu64 " bytes of values, but %zu follow it, so it is %s; "
                       "copy or download it again",
                       name, bytes, size - head, bytes > size - head ? "truncated" : "damaged or too long");
    idx->values = b + head;
    return DP_OK;
}

static dp_err idx_open(struct idx *idx, const char *path, const void *bytes, size_t size, dp_error *err)
{
    const unsigned char *b = bytes;
    text_init(&idx->text, path, bytes, size);
    if (size < IDX_HEAD_BYTES || b[0] || b[1])
        return dp_fail(err, DP_DATA, "%s: is no IDX file: it does not begin with two zero bytes and a type",
                       idx->text.name);
    if (!type_bytes(b[2]))
        return dp_fail(err, DP_DATA, "%s: IDX type 0x%02x is unknown; 08, 09, 0b, 0c, 0d and 0e are", idx->text.name,
                       b[2]);
    if (b[3] == 0 || b[3] > IDX_RANK_MAX)
        return dp_fail(err, DP_DATA, "%s: %u dimensions in its IDX header; 1 to %d are allowed", idx->text.name, b[3],
                       IDX_RANK_MAX);
    idx->type = b[2];
    idx->rank = b[3];
    return dims_read(idx, b, size, err);
}

/* All values as floats, unsigned bytes times `scale` 1/255 if asked. */
static dp_err values_read(const struct idx *idx, bool scale, float *out, dp_error *err)
{
    uint64_t n = idx->rows * idx->columns;
    if (idx->type == IDX_UBYTE) {
        for (uint64_t i = 0; i < n; i++)
            out[i] = scale ? (float)idx->values[i] / 255.0f : (float)idx->values[i];
        return DP_OK;
    }
    for (uint64_t i = 0; i < n; i++) {
        out[i] = (float)value_at(idx, i);
        if (!isfinite(out[i]))
            return dp_fail(err, DP_DATA, "%s: row %" PRIu64 ", column %" PRIu64 " %s", idx->text.name, i / idx->columns,
                           i % idx->columns,
                           isfinite(value_at(idx, i)) ? "is too large for a 32-bit float; scale the data"
                                                      : "is not a finite number; remove the row or put a value there");
    }
    return DP_OK;
}

/* A value in as few digits as its type needs to give it back. */
static void value_text(const struct idx *idx, uint64_t i, char buf[LABEL_NUMBER_CHARS])
{
    double value = value_at(idx, i);
    int digits = 1;
    if (idx->type != IDX_FLOAT || !isfinite(value) || value == trunc(value)) {
        (void)label_number_text(value, buf);
        return;
    }
    float near;
    do
        snprintf(buf, LABEL_NUMBER_CHARS, "%.*g", digits, value);
    while (digits++ < 9 && (number_scan(buf, buf + strlen(buf), &near) != buf + strlen(buf) || near != (float)value));
}

/* Labels as classes: each is the number that a text file would have. */
static dp_err classes_read(const struct idx *idx, const struct data_source *source, struct data *data, dp_error *err)
{
    for (data->rows = 0; data->rows < idx->rows; data->rows++) {
        char text[LABEL_NUMBER_CHARS];
        const char *fault = NULL;
        value_text(idx, data->rows, text);
        dp_err e = row_label_take(source, data, text, strlen(text), 0, &fault);
        if (e == DP_NOMEM)
            return dp_fail(err, e, "%s: out of memory for its labels", idx->text.name);
        if (e)
            return dp_fail(err, e, "%s: row %" PRIu64 ", the label: '%s' %s", idx->text.name, data->rows, text, fault);
    }
    return DP_OK;
}

static dp_err labels_read(const struct idx *images, const struct data_source *source, const void *bytes, size_t size,
                          struct data *data, dp_error *err)
{
    const char *path = source->labels_path ? source->labels_path : "label file";
    struct idx idx = {0};
    dp_err e = idx_open(&idx, path, bytes, size, err);
    if (e)
        return e;
    if (idx.rank != 1)
        return dp_fail(err, DP_DATA, "%s: has %u dimensions, but a label file has one; give the label file",
                       idx.text.name, idx.rank);
    if (idx.rows != images->rows)
        return dp_fail(err, DP_DATA,
                       "%s: has %" PRIu64 " label%s, but %s has %" PRIu64 " row%s; take the file that "
                       "belongs to it",
                       idx.text.name, idx.rows, human_s(idx.rows), images->text.name, images->rows,
                       human_s(images->rows));
    return data->labels ? values_read(&idx, false, data->labels, err) : classes_read(&idx, source, data, err);
}

dp_err idx_parse(const struct data_source *source, const void *bytes, size_t size, const void *labels,
                 size_t labels_size, struct data *data, dp_error *err)
{
    struct idx idx = {0};
    dp_err e = idx_open(&idx, source->path, bytes, size, err);
    if (e)
        return e;
    if (idx.rank < 2)
        return dp_fail(err, DP_DATA, "%s: has one dimension, which is a label file; give the file with the features",
                       idx.text.name);
    if (source->features && source->features != idx.columns && source->want_of)
        return dp_fail(err, DP_DATA,
                       "%s: has %" PRIu64 " feature%s, but %.150s has %" PRIu64
                       "; take data of the kind that it was trained with",
                       idx.text.name, idx.columns, human_s(idx.columns), source->want_of, source->features);
    if (source->features && source->features != idx.columns)
        return dp_fail(err, DP_DATA,
                       "%s: has %" PRIu64 " feature%s, but the job has %" PRIu64
                       "; take data of the same kind, or start dp-server with --features %" PRIu64,
                       idx.text.name, idx.columns, human_s(idx.columns), source->features, idx.columns);
    if (mem_check_room(idx.text.name, idx.rows * (sizeof *data->labels + idx.columns * sizeof *data->values), err))
        return DP_NOMEM;
    bool labelled = row_labels_room(source, idx.rows, data);
    data->values = mem_array(idx.rows * idx.columns, sizeof *data->values);
    if (!labelled || !data->values)
        return dp_fail(err, DP_NOMEM, "%s: not enough memory for %" PRIu64 " rows of %" PRIu64 " features",
                       idx.text.name, idx.rows, idx.columns);
    if (!source->unlabelled)
        e = labels_read(&idx, source, labels, labels_size, data, err);
    else if (data->labels)
        memset(data->labels, 0, idx.rows * sizeof *data->labels);
    else
        e = classes_read(&idx, source, data, err);
    if (!e)
        e = values_read(&idx, true, data->values, err);
    data->rows = idx.rows;
    data->features = idx.columns;
    return e;
}

/* Replaces the last `from` behind `base` in path by `to` of the same length; false if it is not there. */
static bool name_replace(char *base, const char *from, const char *to)
{
    char *found = NULL;
    for (char *p = strstr(base, from); p; p = strstr(p + 1, from))
        found = p;
    if (found)
        memcpy(found, to, strlen(to));
    return found;
}

dp_err idx_labels_path(const char *path, char **ret_path, dp_error *err)
{
    char *copy = strdup(path);
    if (!copy)
        return dp_fail(err, DP_NOMEM, "out of memory");
    char *slash = strrchr(copy, '/');
    char *base = slash ? slash + 1 : copy;
    if (!name_replace(base, "images", "labels")) {
        free(copy);
        return dp_fail(err, DP_USAGE,
                       "%s: cannot tell the name of its label file, since the name has no 'images' to replace by "
                       "'labels'; give it with --labels",
                       path);
    }
    (void)name_replace(base, "idx3", "idx1");
    *ret_path = copy;
    return DP_OK;
}
