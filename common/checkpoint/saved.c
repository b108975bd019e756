/* Models and checkpoints; see saved.h. Thread: one at a time. */
#include "common/checkpoint/saved.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum { CHUNK = 1 << 16 /* words that are read at a time */ };
static const char IDS[] = ".ids", VALUES[] = ".values";

/* ---- a model's file ---- */

static int find(const struct tensors *tensors, const char *name)
{
    for (uint32_t i = 0; i < tensors->count; i++)
        if (strcmp(tensors->list[i].name, name) == 0)
            return (int)i;
    return -1;
}

static bool is_ids(const struct safetensors_file *file, uint32_t t)
{
    return file->u64 >> t & 1;
}

/* The tensor of ids that belongs to tensor t of values; -1: none does, and t is dense. */
static int ids_of(const struct safetensors_file *file, uint32_t t, char name[TENSOR_NAME_MAX])
{
    char ids[TENSOR_NAME_MAX + sizeof IDS];
    const char *whole = file->tensors.list[t].name;
    const size_t length = strlen(whole), end = sizeof VALUES - 1;
    if (length <= end || strcmp(whole + length - end, VALUES) != 0)
        return -1;
    snprintf(name, TENSOR_NAME_MAX, "%.*s", (int)(length - end), whole);
    snprintf(ids, sizeof ids, "%s%s", name, IDS);
    const int at = find(&file->tensors, ids);
    return at >= 0 && is_ids(file, (uint32_t)at) ? at : -1;
}

static dp_err add_hashed(struct saved *saved, const struct tensor *values, uint32_t ids, const char *name,
                         dp_error *err)
{
    dp_error why;
    const uint64_t rows = saved->file.tensors.list[ids].elems / 2;
    if (values->rank < 2 || values->shape[0] != rows)
        return dp_fail(err, DP_DATA, "%.400s: tensor '%s' does not have a row for each id", saved->path, values->name);
    if (tensors_add_table(&saved->tensors, name, TENSOR_HASHED, values->rank - 1, values->shape + 1, INIT_ZEROS, 0,
                          false, &why))
        return dp_fail(err, DP_DATA, "%.400s: %.200s", saved->path, why.text);
    return DP_OK;
}

/* Ids and values of a hashed table become one tensor. */
static dp_err add_tensors(struct saved *saved, dp_error *err)
{
    const struct safetensors_file *file = &saved->file;
    bool used[TENSOR_COUNT_MAX] = {false};
    dp_err e = DP_OK;
    for (uint32_t t = 0; !e && t < file->tensors.count; t++) {
        char name[TENSOR_NAME_MAX];
        const uint32_t at = saved->tensors.count;
        const int ids = ids_of(file, t, name);
        if (is_ids(file, t))
            continue;
        saved->values[at] = t;
        if (ids >= 0) {
            used[ids] = true;
            saved->ids[at] = (uint32_t)ids;
            e = add_hashed(saved, &file->tensors.list[t], (uint32_t)ids, name, err);
        } else {
            saved->tensors.list[saved->tensors.count++] = file->tensors.list[t];
        }
    }
    for (uint32_t t = 0; !e && t < file->tensors.count; t++)
        if (is_ids(file, t) && !used[t])
            e = dp_fail(err, DP_DATA, "%.400s: has no values for the ids of tensor '%s'", saved->path,
                        file->tensors.list[t].name);
    return e;
}

static dp_err open_model(struct saved *saved, dp_error *err)
{
    dp_err e = safetensors_open(saved->path, &saved->file, err);
    if (e)
        return e;
    saved->meta = saved->file.meta;
    saved->file.meta = (struct safetensors_meta){0};
    return add_tensors(saved, err);
}

/* ---- a checkpoint ---- */

static void take_seed(struct saved *saved)
{
    const char *text = json_string_value(json_object_get(saved->manifest.spec, "seed"));
    saved->seed = text ? strtoull(text, NULL, 10) : 0;
}

static dp_err open_checkpoint(struct saved *saved, const struct checkpoint_damage *damage, dp_error *err)
{
    struct checkpoint_chosen chosen;
    dp_err e =
        damage ? checkpoint_choose(saved->path, *damage, &chosen, err) : checkpoint_trust(saved->path, &chosen, err);
    if (e)
        return e;
    saved->manifest = chosen.manifest;
    saved->meta = saved->manifest.model;
    saved->tensors = saved->manifest.tensors;
    saved->manifest.model = (struct safetensors_meta){0};
    memcpy(saved->path, chosen.path, sizeof saved->path);
    take_seed(saved);
    if (saved->tensors.count == 0)
        return dp_fail(err, DP_DATA,
                       "%.400s: an older dp has written it, which did not say what its tensors are: let dp-server go "
                       "on with it and make another one",
                       saved->path);
    return checkpoint_files_open(saved->path, &saved->manifest, &saved->files, err);
}

/* `damage` NULL: a checkpoint's bytes are taken for whole. */
static dp_err open_saved(const char *path, const struct checkpoint_damage *damage, struct saved *ret_saved,
                         dp_error *err)
{
    struct saved *saved = mem_array_zero(1, sizeof *saved);
    if (!saved)
        return dp_fail(err, DP_NOMEM, "%.400s: out of memory", path);
    saved->file.fd = -1;
    saved->is_checkpoint = checkpoint_is_folder(path);
    dp_err e = str_copy(saved->path, sizeof saved->path, path)
                   ? DP_OK
                   : dp_fail(err, DP_IO, "the path is too long: %.80s...", path);
    if (!e)
        e = saved->is_checkpoint ? open_checkpoint(saved, damage, err) : open_model(saved, err);
    if (e)
        saved_close(saved);
    else
        *ret_saved = *saved;
    free(saved);
    return e;
}

dp_err saved_open(const char *path, struct checkpoint_damage damage, struct saved *ret_saved, dp_error *err)
{
    return open_saved(path, &damage, ret_saved, err);
}

dp_err saved_open_again(const char *path, struct saved *ret_saved, dp_error *err)
{
    return open_saved(path, NULL, ret_saved, err);
}

void saved_close(struct saved *saved)
{
    safetensors_meta_fini(&saved->meta);
    manifest_fini(&saved->manifest);
    checkpoint_files_close(&saved->files);
    safetensors_close(&saved->file);
    memset(saved, 0, sizeof *saved);
}

/* ---- tensors ---- */

int saved_find(const struct saved *saved, const char *name)
{
    return find(&saved->tensors, name);
}

static uint64_t dim_of(const struct tensor *tensor)
{
    return tensor->kind == TENSOR_DENSE ? tensor->elems / tensor->shape[0] : tensor->dim;
}

uint64_t saved_elems(const struct tensor *tensor)
{
    return tensor->kind == TENSOR_DENSE ? tensor->elems : (tensor->last_row + 1) * tensor->dim;
}

uint64_t saved_row_count(const struct saved *saved, uint32_t tensor)
{
    const struct tensor *t = &saved->tensors.list[tensor];
    uint64_t rows = 0;
    if (t->kind == TENSOR_DENSE)
        return t->shape[0];
    if (!saved->is_checkpoint)
        return saved->file.tensors.list[saved->ids[tensor]].elems / 2;
    for (size_t f = 0; f < saved->files.count; f++) {
        const struct shard_file_facts *facts = &saved->files.list[f].facts;
        for (uint32_t p = 0; p < facts->part_count; p++)
            rows += strcmp(facts->parts[p].tensor, t->name) == 0 ? facts->parts[p].rows : 0;
    }
    return rows;
}

/* ---- elements ---- */

static dp_err read_dense(const struct saved *saved, const struct tensor *tensor, uint64_t first, uint64_t count,
                         float *to, dp_error *err)
{
    for (uint64_t done = 0, n; done < count; done += n) {
        uint32_t r = 0;
        const struct shard_file *file = checkpoint_files_find(&saved->files, tensor->name, first + done, &r);
        if (!file)
            return dp_fail(err, DP_DATA, "%.400s: lacks element %" PRIu64 " of tensor '%s'", saved->path, first + done,
                           tensor->name);
        const struct shard_file_range *range = &file->facts.ranges[r];
        const uint64_t at = first + done - range->first;
        n = MIN(count - done, range->count - at);
        dp_err e = shard_file_read(file, r, -1, at, n, to + done, err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* A part of a table to which rows go: elements [first, first + count). */
struct window {
    uint64_t first, count;
    uint32_t dim;
    float *to;
};

/* The elements of a row that lie in the window. */
static dp_err place(void *arg, uint64_t id, const float *row, dp_error *err)
{
    const struct window *w = arg;
    const uint64_t at = id * w->dim, begin = MAX(at, w->first), end = MIN(at + w->dim, w->first + w->count);
    (void)err;
    if (begin < end)
        memcpy(w->to + (begin - w->first), row + (begin - at), (size_t)(end - begin) * sizeof *row);
    return DP_OK;
}

/* Rows that were not touched have their initial values. */
static dp_err read_table(const struct saved *saved, uint32_t t, uint64_t first, uint64_t count, float *to,
                         dp_error *err)
{
    const struct tensor *table = &saved->tensors.list[t];
    const uint64_t begin = first / table->dim, last = (first + count - 1) / table->dim;
    struct window window = {first, count, table->dim, to};
    if (count == 0)
        return DP_OK;
    if (table->init == INIT_ZEROS) {
        memset(to, 0, (size_t)count * sizeof *to);
    } else {
        AUTOFREE float *row = mem_array(table->dim, sizeof *row);
        if (!row)
            return dp_fail(err, DP_NOMEM, "%.400s: out of memory", saved->path);
        for (uint64_t id = begin; id <= last; id++) {
            tensors_init_row(&saved->tensors, t, saved->seed, id, row);
            (void)place(&window, id, row, err);
        }
    }
    return saved_rows(saved, t, begin, last, (struct saved_taker){place, &window}, err);
}

dp_err saved_read(const struct saved *saved, uint32_t t, uint64_t first, uint64_t count, float *to, dp_error *err)
{
    const struct tensor *tensor = &saved->tensors.list[t];
    if (!saved->is_checkpoint)
        return safetensors_values(&saved->file, tensors_offset(&saved->file.tensors, saved->values[t]) + first, count,
                                  to, err);
    return tensor->kind == TENSOR_DENSE ? read_dense(saved, tensor, first, count, to, err)
                                        : read_table(saved, t, first, count, to, err);
}

/* ---- rows ---- */

/* Rows of a part of a checkpoint. */
static dp_err rows_of_part(const struct shard_file *file, uint32_t p, uint64_t first, uint64_t last,
                           struct saved_taker to, dp_error *err)
{
    const struct shard_file_part *part = &file->facts.parts[p];
    const uint64_t words = shard_file_row_words(&file->facts, part), most = MAX(CHUNK / words, (uint64_t)1);
    const uint64_t at = shard_file_row_theta(&file->facts, part);
    AUTOFREE uint32_t *rows = mem_array((size_t)(most * words), sizeof *rows);
    dp_err e = DP_OK;
    if (!rows)
        return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", file->name);
    for (uint64_t done = 0, n; !e && done < part->rows; done += n) {
        n = MIN(most, part->rows - done);
        e = shard_file_read_rows(file, p, done, n, rows, err);
        for (uint64_t i = 0; !e && i < n; i++) {
            const uint32_t *row = rows + i * words;
            const uint64_t id = row[0] | (uint64_t)row[1] << 32;
            if (id >= first && id <= last)
                e = to.take(to.arg, id, (const float *)(const void *)(row + at), err);
        }
    }
    return e;
}

static dp_err rows_of_checkpoint(const struct saved *saved, const struct tensor *table, uint64_t first, uint64_t last,
                                 struct saved_taker to, dp_error *err)
{
    dp_err e = checkpoint_files_check_rows(&saved->files, table->name, first, last, err);
    for (size_t f = 0; !e && f < saved->files.count; f++) {
        const struct shard_file *file = &saved->files.list[f];
        for (uint32_t p = 0; !e && p < file->facts.part_count; p++) {
            const struct shard_file_part *part = &file->facts.parts[p];
            if (strcmp(part->tensor, table->name) != 0 || part->last < first || part->first > last)
                continue;
            e = part->dim == table->dim ? rows_of_part(file, p, first, last, to, err)
                                        : dp_fail(err, DP_DATA, "%.400s: rows of table '%s' have %u floats, not %u",
                                                  file->name, table->name, part->dim, table->dim);
        }
    }
    return e;
}

/* Ids of rows [first, first + count) of a hashed table; others are numbers. */
static dp_err read_ids(const struct saved *saved, uint32_t t, uint64_t first, uint64_t count, uint64_t *to,
                       dp_error *err)
{
    if (saved->tensors.list[t].kind == TENSOR_HASHED)
        return safetensors_values(&saved->file, tensors_offset(&saved->file.tensors, saved->ids[t]) + 2 * first,
                                  2 * count, to, err);
    for (uint64_t i = 0; i < count; i++)
        to[i] = first + i;
    return DP_OK;
}

/* Rows [begin, end) of a tensor of a file, or of a dense one of a checkpoint. */
static dp_err rows_between(const struct saved *saved, uint32_t t, struct range rows, uint64_t first, uint64_t last,
                           struct saved_taker to, dp_error *err)
{
    const uint64_t dim = dim_of(&saved->tensors.list[t]), most = MAX((uint64_t)CHUNK / dim, (uint64_t)1);
    AUTOFREE uint64_t *ids = mem_array((size_t)most, sizeof *ids);
    AUTOFREE float *values = mem_array((size_t)(most * dim), sizeof *values);
    dp_err e = DP_OK;
    if (!ids || !values)
        return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", saved->path);
    for (uint64_t done = 0, n; !e && done < rows.count; done += n) {
        n = MIN(most, rows.count - done);
        e = read_ids(saved, t, rows.first + done, n, ids, err);
        if (!e)
            e = saved_read(saved, t, (rows.first + done) * dim, n * dim, values, err);
        for (uint64_t i = 0; !e && i < n; i++)
            if (ids[i] >= first && ids[i] <= last)
                e = to.take(to.arg, ids[i], values + i * dim, err);
    }
    return e;
}

dp_err saved_rows(const struct saved *saved, uint32_t t, uint64_t first, uint64_t last, struct saved_taker to,
                  dp_error *err)
{
    const struct tensor *tensor = &saved->tensors.list[t];
    if (tensor->kind != TENSOR_DENSE && saved->is_checkpoint)
        return rows_of_checkpoint(saved, tensor, first, last, to, err);
    struct range rows = {0, saved_row_count(saved, t)};
    if (tensor->kind == TENSOR_DENSE) {
        if (first >= rows.count)
            return DP_OK;
        rows = (struct range){first, MIN(last, rows.count - 1) - first + 1};
    }
    return rows_between(saved, t, rows, first, last, to, err);
}

/* ---- all of it ---- */

static dp_err copy_meta(const struct safetensors_meta *from, struct safetensors_meta *to)
{
    dp_err e = DP_OK;
    for (size_t i = 0; !e && i < from->count; i++)
        e = safetensors_meta_set(to, from->keys[i], "%s", from->values[i]);
    return e;
}

static dp_err load_tensors(const struct saved *saved, struct safetensors *model, dp_error *err)
{
    for (uint32_t t = 0; t < saved->tensors.count; t++) {
        const struct tensor *tensor = &saved->tensors.list[t];
        if (tensor->kind == TENSOR_HASHED)
            return dp_fail(err, DP_DATA,
                           "%.400s: table '%s' has rows by id, as programs on libdp train them: only those know what "
                           "the rows mean",
                           saved->path, tensor->name);
        dp_err e = tensors_add(&model->tensors, tensor->name, tensor->rank, tensor->shape, INIT_ZEROS, 0, false, err);
        if (e)
            return e;
    }
    return DP_OK;
}

static dp_err load_values(const struct saved *saved, struct safetensors *model, dp_error *err)
{
    const uint64_t total = tensors_total(&model->tensors);
    if (mem_check_room(saved->path, total * sizeof(float), err))
        return DP_NOMEM;
    model->theta = mem_array((size_t)total, sizeof *model->theta);
    if (!model->theta)
        return dp_fail(err, DP_NOMEM, "%.400s: not enough memory for %" PRIu64 " parameters", saved->path, total);
    dp_err e = DP_OK;
    for (uint32_t t = 0; !e && t < model->tensors.count; t++)
        e = saved_read(saved, t, 0, model->tensors.list[t].elems, model->theta + tensors_offset(&model->tensors, t),
                       err);
    return e;
}

dp_err saved_load(const struct saved *saved, struct safetensors *ret_model, dp_error *err)
{
    AUTOFREE struct safetensors *model = mem_array_zero(1, sizeof *model);
    if (!model)
        return dp_fail(err, DP_NOMEM, "%.400s: out of memory", saved->path);
    dp_err e =
        copy_meta(&saved->meta, &model->meta) ? dp_fail(err, DP_NOMEM, "%.400s: out of memory", saved->path) : DP_OK;
    if (!e)
        e = load_tensors(saved, model, err);
    if (!e)
        e = load_values(saved, model, err);
    if (e)
        safetensors_fini(model);
    else
        *ret_model = *model;
    return e;
}
