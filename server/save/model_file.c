/* The model file; see model_file.h. */
#include "server/save/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/file.h"
#include "common/base/util.h"

enum { CHUNK_WORDS = 1 << 16 };
_Static_assert(sizeof(float) == sizeof(uint32_t), "words of a file are floats or halves of ids");

void export_file_fini(struct export_file *file)
{
    free(file->runs);
    free(file->head);
    free(file->chunk);
    *file = (struct export_file){0};
}

static dp_err add_run(struct export_file *file, struct export_run run)
{
    if (file->count == file->room) {
        size_t room = file->room ? file->room * 2 : 64;
        struct export_run *grown = realloc(file->runs, room * sizeof *grown);
        if (!grown)
            return DP_NOMEM;
        file->runs = grown;
        file->room = room;
    }
    file->runs[file->count++] = run;
    return DP_OK;
}

dp_err export_file_theta(struct export_file *file, struct range range, const float *theta)
{
    struct segment segments[TENSOR_COUNT_MAX];
    size_t n = layout_segments(file->tensors, range, segments, ARRAY_LEN(segments));
    dp_err e = DP_OK;
    for (size_t i = 0; !e && i < n; i++) {
        const struct segment *s = &segments[i];
        uint64_t at = range.first + s->offset - tensors_offset(file->tensors, s->tensor);
        e = add_run(file, (struct export_run){s->tensor, false, at, s->count, theta + s->offset});
    }
    return e;
}

dp_err export_file_rows(struct export_file *file, uint32_t table, const struct rows_copy *copy)
{
    uint64_t dim = file->tensors->list[table].dim, done = file->rows[table];
    dp_err e = add_run(file, (struct export_run){table, false, done * dim, copy->count * dim, copy->values});
    if (!e && copy->ids)
        e = add_run(file, (struct export_run){table, true, 2 * done, 2 * copy->count, copy->ids});
    file->rows[table] += copy->count;
    return e;
}

/* A tensor of the file; returns the word that it begins at. */
static uint64_t append(struct export_file *file, const char *name, const char *suffix, uint32_t rank,
                       const uint64_t *shape, uint64_t words)
{
    struct tensor *disk = &file->disk.list[file->disk.count];
    uint64_t first = tensors_total(&file->disk);
    *disk = (struct tensor){.rank = rank, .elems = words, .unit = 1};
    snprintf(disk->name, sizeof disk->name, "%s%s", name, suffix);
    memcpy(disk->shape, shape, rank * sizeof *shape);
    file->disk.count++;
    return first;
}

/* A hashed table's values. A row of the highest rank leaves no dimension for the rows: it is written as a vector. */
static void append_values(struct export_file *file, uint32_t t)
{
    const struct tensor *table = &file->tensors->list[t];
    uint64_t shape[TENSOR_RANK_MAX] = {file->rows[t], table->dim};
    uint32_t rank = 2;
    if (table->rank < TENSOR_RANK_MAX) {
        memcpy(shape + 1, table->shape, table->rank * sizeof *shape);
        rank = table->rank + 1;
    }
    file->first[t] = append(file, table->name, ".values", rank, shape, file->rows[t] * table->dim);
}

static dp_err check_count(const struct export_file *file, dp_error *err)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < file->tensors->count; t++)
        count += file->tensors->list[t].kind == TENSOR_HASHED ? 2 : 1;
    if (count > TENSOR_COUNT_MAX)
        return dp_fail(err, DP_RANGE, "the model's %u tensors are more than a file may have (%d)", count,
                       TENSOR_COUNT_MAX);
    return DP_OK;
}

/* Ids come first, where they are aligned. */
static void lay_out(struct export_file *file)
{
    for (uint32_t t = 0; t < file->tensors->count; t++)
        if (file->tensors->list[t].kind == TENSOR_HASHED) {
            file->u64 |= UINT64_C(1) << file->disk.count;
            file->first_id[t] = append(file, file->tensors->list[t].name, ".ids", 1, &file->rows[t], 2 * file->rows[t]);
        }
    for (uint32_t t = 0; t < file->tensors->count; t++) {
        const struct tensor *tensor = &file->tensors->list[t];
        uint64_t words = tensor->kind == TENSOR_DENSE ? tensor->elems : file->rows[t] * tensor->dim;
        if (tensor->kind == TENSOR_HASHED)
            append_values(file, t);
        else
            file->first[t] = append(file, tensor->name, "", tensor->rank, tensor->shape, words);
    }
}

/* Words [first, first + count) of the values, from the runs that they are in. */
static void gather(const struct export_file *file, uint64_t first, uint64_t count, void *to)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct export_run *run = &file->runs[i];
        uint64_t at = run->at + (run->ids ? file->first_id : file->first)[run->tensor];
        uint64_t begin = MAX(first, at), end = MIN(first + count, at + run->words);
        if (begin < end)
            memcpy((uint32_t *)to + (begin - first), (const uint32_t *)run->data + (begin - at),
                   (size_t)(end - begin) * sizeof(uint32_t));
    }
}

bool export_file_finite(const struct export_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct export_run *run = &file->runs[i];
        for (uint64_t k = 0; !run->ids && k < run->words; k++)
            if (!isfinite(((const float *)run->data)[k]))
                return false;
    }
    return true;
}

dp_err export_file_seal(struct export_file *file, const struct safetensors_meta *meta, dp_error *err)
{
    file->chunk = mem_array(CHUNK_WORDS, sizeof *file->chunk);
    if (!file->chunk)
        return dp_fail(err, DP_NOMEM, "out of memory for the export");
    dp_err e = check_count(file, err);
    if (e)
        return e;
    lay_out(file);
    e = safetensors_head(&file->disk, file->u64, meta, &file->head, &file->head_bytes, err);
    file->bytes = file->head_bytes + tensors_total(&file->disk) * sizeof(uint32_t);
    return e;
}

void export_file_read(struct export_file *file, uint64_t offset, size_t bytes, void *to)
{
    char *out = to;
    if (offset < file->head_bytes) {
        size_t n = MIN(bytes, file->head_bytes - (size_t)offset);
        memcpy(out, file->head + offset, n);
        offset += n;
        out += n;
        bytes -= n;
    }
    if (bytes)
        gather(file, (offset - file->head_bytes) / sizeof(uint32_t), bytes / sizeof(uint32_t), out);
}

/* Hands the file out a chunk at a time, until one is refused. */
static dp_err for_chunks(struct export_file *file, dp_err (*take)(void *arg, const void *at, size_t n, dp_error *err),
                         void *arg, dp_error *err)
{
    dp_err e = DP_OK;
    for (uint64_t at = 0, n; !e && at < file->bytes; at += n) {
        n = MIN(file->bytes - at, (uint64_t)CHUNK_WORDS * sizeof *file->chunk);
        export_file_read(file, at, (size_t)n, file->chunk);
        e = take(arg, file->chunk, (size_t)n, err);
    }
    return e;
}

static dp_err digest_chunk(void *arg, const void *at, size_t n, dp_error *err)
{
    (void)err;
    (void)XXH3_64bits_update(arg, at, n);
    return DP_OK;
}

dp_err export_file_digest(struct export_file *file, uint64_t *ret_digest)
{
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return DP_NOMEM;
    (void)XXH3_64bits_reset(state);
    dp_err e = for_chunks(file, digest_chunk, state, NULL);
    *ret_digest = XXH3_64bits_digest(state);
    (void)XXH3_freeState(state);
    return e;
}

static dp_err write_chunk(void *arg, const void *at, size_t n, dp_error *err)
{
    return file_write_all(*(const int *)arg, at, n, err);
}

static dp_err write_all(void *arg, int fd, dp_error *err)
{
    return for_chunks(arg, write_chunk, &fd, err);
}

dp_err export_file_write(struct export_file *file, int *held, const char *path, dp_error *err)
{
    return file_replace_held(held, path, write_all, file, err);
}
