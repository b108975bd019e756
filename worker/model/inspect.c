/* The content of a model or a checkpoint; see inspect.h. Sums are in double, in the order of the elements; rows of a
 * checkpoint's table come in the order of its files. Thread: one. */
#include "worker/model/inspect.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/tensor/label_list.h"
#include "common/tensor/schema.h"
#include "worker/data/parse/text.h"
#include "worker/model/inspect_table.h"
#include "worker/model/training.h"

enum { CHUNK = 1 << 16 /* elements that are read at a time */ };

/* ---- values ---- */

struct stats {
    uint64_t nonzeros, infinite; /* elements that are not zero; that are no finite numbers */
    double squares, largest;     /* of finite ones: their sum of squares, the largest magnitude */
    uint32_t dim;                /* of a row */
    const volatile int *stop;
};

static void add(struct stats *stats, const float *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const double x = (double)values[i];
        stats->nonzeros += x != 0 ? 1 : 0;
        stats->infinite += isfinite(x) ? 0 : 1;
        if (!isfinite(x))
            continue;
        stats->squares += x * x;
        stats->largest = MAX(stats->largest, fabs(x));
    }
}

static dp_err add_row(void *arg, uint64_t id, const float *row, dp_error *err)
{
    struct stats *stats = arg;
    add(stats, row, stats->dim);
    return id % 4096 == 0 ? data_stopped(stats->stop, err) : DP_OK;
}

/* Rows that were not touched have their initial values, which are not in the file. */
static bool by_rows(const struct saved *saved, const struct tensor *tensor)
{
    return tensor->kind == TENSOR_HASHED || (saved->is_checkpoint && tensor->kind == TENSOR_TABLE);
}

static dp_err measure(const struct saved *saved, uint32_t t, struct stats *stats, dp_error *err)
{
    const struct tensor *tensor = &saved->tensors.list[t];
    stats->dim = tensor->dim;
    if (by_rows(saved, tensor))
        return saved_rows(saved, t, 0, tensor->kind == TENSOR_HASHED ? UINT64_MAX : tensor->last_row,
                          (struct saved_taker){add_row, stats}, err);
    AUTOFREE float *values = mem_array(CHUNK, sizeof *values);
    dp_err e = values ? DP_OK : dp_fail(err, DP_NOMEM, "%.400s: out of memory", saved->path);
    for (uint64_t done = 0, n; !e && done < tensor->elems; done += n) {
        n = MIN(tensor->elems - done, (uint64_t)CHUNK);
        e = saved_read(saved, t, done, n, values, err);
        if (!e)
            e = data_stopped(stats->stop, err);
        if (!e)
            add(stats, values, n);
    }
    return e;
}

/* ---- tensors ---- */

static json_t *shape_json(const struct tensor *tensor)
{
    json_t *shape = json_array();
    for (uint32_t d = 0; d < tensor->rank; d++)
        (void)json_array_append_new(shape, json_integer((json_int_t)tensor->shape[d]));
    return shape;
}

/* Elements that the tensor has; of a hashed table those of its rows. */
static uint64_t elements(const struct saved *saved, uint32_t t)
{
    const struct tensor *tensor = &saved->tensors.list[t];
    return tensor->kind == TENSOR_HASHED ? saved_row_count(saved, t) * tensor->dim : saved_elems(tensor);
}

static dp_err add_tensor(const struct saved *saved, uint32_t t, const volatile int *stop, json_t *list, dp_error *err)
{
    static const char *const KINDS[] = {"dense", "table", "hashed"};
    const struct tensor *tensor = &saved->tensors.list[t];
    struct stats stats = {.stop = stop};
    dp_err e = measure(saved, t, &stats, err);
    if (e)
        return e;
    const uint64_t elems = elements(saved, t);
    json_t *rows = by_rows(saved, tensor) ? json_integer((json_int_t)saved_row_count(saved, t)) : json_null();
    json_t *json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:f, s:f, s:f, s:I}", "name", tensor->name, "kind",
                             KINDS[tensor->kind], "dtype", "F32", "shape", shape_json(tensor), "rows", rows, "elements",
                             (json_int_t)elems, "nonzeros", (json_int_t)stats.nonzeros, "sparsity",
                             elems ? 1 - (double)stats.nonzeros / (double)elems : 0, "norm", sqrt(stats.squares),
                             "largest", stats.largest, "not_finite", (json_int_t)stats.infinite);
    return json_array_append_new(list, json) ? dp_fail(err, DP_NOMEM, "%.400s: out of memory", saved->path) : DP_OK;
}

static dp_err add_tensors(const struct saved *saved, const volatile int *stop, json_t *document, dp_error *err)
{
    json_t *list = json_array();
    uint64_t parameters = 0;
    dp_err e = list ? DP_OK : dp_fail(err, DP_NOMEM, "%.400s: out of memory", saved->path);
    for (uint32_t t = 0; !e && t < saved->tensors.count; t++) {
        e = add_tensor(saved, t, stop, list, err);
        parameters += elements(saved, t);
    }
    (void)json_object_set_new(document, "parameters", json_integer((json_int_t)parameters));
    (void)json_object_set_new(document, "tensors", list);
    return e;
}

/* ---- the model ---- */

static json_t *text_json(const struct safetensors_meta *meta, const char *key)
{
    const char *text = safetensors_meta_get(meta, key);
    json_t *json = text ? json_string(text) : NULL;
    return json ? json : json_null();
}

/* A decimal number. */
static json_t *number_json(const struct safetensors_meta *meta, const char *key)
{
    const char *text = safetensors_meta_get(meta, key);
    char *end = NULL;
    errno = 0;
    const long long number = text ? strtoll(text, &end, 10) : 0;
    return text && text[0] && !*end && !errno && number >= 0 ? json_integer(number) : json_null();
}

static json_t *labels_json(const struct safetensors_meta *meta)
{
    const char *text = safetensors_meta_get(meta, "labels");
    struct label_list labels = {0};
    if (!text || !text[0] || label_list_parse(text, &labels, NULL))
        return json_null();
    char **texts = label_list_texts(&labels);
    json_t *list = texts ? json_array() : json_null();
    for (size_t i = 0; texts && i < labels.count; i++)
        (void)json_array_append_new(list, json_string(texts[i]));
    free(texts);
    label_list_fini(&labels);
    return list;
}

/* Metadata that are a JSON array of texts. */
static json_t *list_json(const struct safetensors_meta *meta, const char *key)
{
    size_t count = 0;
    const char *text = safetensors_meta_get(meta, key);
    char **names = text ? schema_list_parse(text, SCHEMA_NAMES_MAX, &count) : NULL;
    json_t *list = names ? json_array() : json_null();
    for (size_t i = 0; names && i < count; i++)
        (void)json_array_append_new(list, json_string(names[i]));
    free(names);
    return list;
}

static json_t *label_column_json(const struct safetensors_meta *meta)
{
    return safetensors_meta_get(meta, "label_name") ? text_json(meta, "label_name") : number_json(meta, "label_column");
}

static json_t *intercept_json(const struct safetensors_meta *meta)
{
    const char *text = safetensors_meta_get(meta, "intercept");
    return text ? json_boolean(strcmp(text, "on") == 0) : json_null();
}

static json_t *model_json(const struct saved *saved)
{
    const struct safetensors_meta *meta = &saved->meta;
    const struct model_state state = model_state_read(meta);
    return json_pack("{s:s, s:n, s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o}",
                     "event", "done", "reason", "exit_code", 0, "kind", saved->is_checkpoint ? "checkpoint" : "model",
                     "path", saved->path, "model", text_json(meta, "model"), "features", number_json(meta, "features"),
                     "classes", number_json(meta, "classes"), "intercept", intercept_json(meta), "labels",
                     labels_json(meta), "data_format", text_json(meta, "data_format"), "columns",
                     list_json(meta, "feature_names"), "label_column", label_column_json(meta), "ignored_columns",
                     list_json(meta, "ignored_columns"), "step", number_json(meta, "steps"), "complete",
                     !state.unfinished && !state.diverged, "diverged", (int)state.diverged, "dp_version",
                     text_json(meta, "dp_version"));
}

/* ---- the checkpoint ---- */

static json_t *files_json(const struct manifest *manifest)
{
    json_t *list = json_array();
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct manifest_file *file = &manifest->files[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "name", file->name, "member", file->member,
                                                    "bytes", (json_int_t)file->bytes));
    }
    return list;
}

static json_t *checkpoint_json(const struct saved *saved)
{
    const struct manifest *m = &saved->manifest;
    if (!saved->is_checkpoint)
        return json_null();
    return json_pack("{s:I, s:I, s:s, s:I, s:O, s:o}", "steps", (json_int_t)m->train_steps, "plan_step",
                     (json_int_t)m->step, "written_at", m->written_at, "generation", (json_int_t)m->generation, "spec",
                     m->spec, "files", files_json(m));
}

dp_err inspect_document(const struct saved *saved, const volatile int *stop, json_t **ret_document, dp_error *err)
{
    json_t *document = model_json(saved);
    if (!document || json_object_set_new(document, "checkpoint", checkpoint_json(saved))) {
        json_decref(document);
        return dp_fail(err, DP_NOMEM, "%.400s: out of memory", saved->path);
    }
    dp_err e = add_tensors(saved, stop, document, err);
    if (e)
        json_decref(document);
    else
        *ret_document = document;
    return e;
}

static void say_damaged(void *arg, const dp_error *err)
{
    (void)arg;
    fprintf(stderr, "dp-worker: a checkpoint is not used: %s\n", err->text);
}

static dp_err print(const struct inspect_options *opts, const json_t *document, dp_error *err)
{
    if (opts->json) {
        (void)json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
        fputc('\n', stdout);
    } else if (!opts->quiet) {
        inspect_print(document, stdout);
    }
    if (fflush(stdout) == 0 && !ferror(stdout))
        return DP_OK;
    return dp_fail(err, DP_IO, "standard output: cannot be written: %s", strerror(errno));
}

dp_err inspect_run(const struct inspect_options *opts, dp_error *err)
{
    AUTOFREE struct saved *saved = mem_array_zero(1, sizeof *saved);
    json_t *document = NULL;
    if (!saved)
        return dp_fail(err, DP_NOMEM, "%.400s: out of memory", opts->path);
    dp_err e = saved_open(opts->path, (struct checkpoint_damage){.tell = say_damaged}, saved, err);
    if (e)
        return e;
    e = inspect_document(saved, opts->stop, &document, err);
    saved_close(saved);
    if (!e)
        e = print(opts, document, err);
    json_decref(document);
    return e;
}
