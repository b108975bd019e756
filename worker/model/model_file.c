/* Reading a trained model, and data that fit it. Invariant: what is returned was checked against what the model itself
 * declares, so its tensors have the shapes that the metadata imply. Thread: any. */
#include "worker/model/model_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/checkpoint/saved.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"
#include "worker/data/hash.h"
#include "worker/data/parse/text.h"
#include "worker/model/labels.h"
#include "worker/model/schema.h"

enum { WANT_OF_MAX = 160 };

/* A decimal number without sign that is the whole text. */
static bool number_read(const char *text, uint64_t max, uint64_t *ret_value)
{
    char *after;
    if (!text || !is_digit(text[0]))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &after, 10);
    if (errno || *after || value > max)
        return false;
    *ret_value = value;
    return true;
}

static dp_err meta_fail(const struct model_file *file, const char *key, const char *value, dp_error *err)
{
    char quote[QUOTE_MAX];
    if (!value)
        return dp_fail(err, DP_MODEL, "%s: its metadata have no '%s'; give a model that dp-server has exported",
                       file->path, key);
    return dp_fail(err, DP_MODEL, "%s: its metadata have '%s' = %s, which this version does not know; export it again",
                   file->path, key, token_quote(quote, value, strlen(value)));
}

/* format, model, features, classes, intercept */
static dp_err spec_read(struct model_file *file, const struct safetensors_meta *meta, dp_error *err)
{
    const char *format = safetensors_meta_get(meta, "format"), *model = safetensors_meta_get(meta, "model");
    const char *features = safetensors_meta_get(meta, "features"), *classes = safetensors_meta_get(meta, "classes");
    const char *intercept = safetensors_meta_get(meta, "intercept");
    const struct model *found = model ? model_find(model) : NULL;
    uint64_t class_count = 0;
    if (!format || strcmp(format, "dp-model-1") != 0)
        return meta_fail(file, "format", format, err);
    if (model && strcmp(model, "free") == 0)
        return dp_fail(err, DP_MODEL,
                       "%s: is of --model free: what its tensors mean knows the program that trained it; "
                       "predict and eval take %s",
                       file->path, model_names());
    if (!found)
        return meta_fail(file, "model", model, err);
    file->model = found;
    if (!number_read(features, UINT64_MAX, &file->spec.features) || file->spec.features == 0)
        return meta_fail(file, "features", features, err);
    if (!number_read(classes, UINT32_MAX, &class_count))
        return meta_fail(file, "classes", classes, err);
    file->spec.classes = (uint32_t)class_count;
    if (!intercept || (strcmp(intercept, "on") != 0 && strcmp(intercept, "off") != 0))
        return meta_fail(file, "intercept", intercept, err);
    file->spec.intercept = strcmp(intercept, "on") == 0;
    return DP_OK;
}

/* hash_bits and hash_seed: both or none */
static dp_err hash_read(struct model_file *file, const struct safetensors_meta *meta, dp_error *err)
{
    const char *bits = safetensors_meta_get(meta, "hash_bits"), *seed = safetensors_meta_get(meta, "hash_seed");
    uint64_t count = 0;
    if (!bits && !seed)
        return DP_OK;
    if (!number_read(bits, DATA_HASH_BITS_MAX, &count) || count == 0 || file->spec.features != UINT64_C(1) << count)
        return meta_fail(file, "hash_bits", bits, err);
    if (!number_read(seed, UINT64_MAX, &file->hash_seed))
        return meta_fail(file, "hash_seed", seed, err);
    file->hash_bits = (uint32_t)count;
    return DP_OK;
}

/* "a,b,c", ascending, into file->labels. */
static dp_err labels_read(struct model_file *file, const char *text, dp_error *err)
{
    if (!file->model->classifies)
        return DP_OK;
    if (!text)
        return meta_fail(file, "labels", text, err);
    dp_err e = label_list_parse(text, &file->labels, NULL);
    if (e == DP_NOMEM)
        return dp_fail(err, DP_NOMEM, "%s: out of memory", file->path);
    if (e || !label_list_ascends(&file->labels))
        return meta_fail(file, "labels", text, err);
    if (file->spec.classes ? file->labels.count != file->spec.classes : file->labels.count != 2)
        return dp_fail(err, DP_MODEL, "%s: its metadata have %zu labels for %" PRIu32 " classes; export it again",
                       file->path, file->labels.count, file->spec.classes ? file->spec.classes : 2);
    return model_check_labels(file->model, &file->labels, file->path, err);
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

static dp_err tensor_copy(struct model_file *file, const struct safetensors *from, uint32_t i, dp_error *err)
{
    const struct tensor *want = &file->tensors.list[i];
    int at = safetensors_find(from, want->name);
    if (at < 0)
        return dp_fail(err, DP_MODEL, "%s: has no tensor '%s', which a %s model needs", file->path, want->name,
                       file->model->name);
    if (!same_shape(want, &from->tensors.list[at]))
        return dp_fail(err, DP_MODEL,
                       "%s: the shape of tensor '%s' does not fit its metadata (features %" PRIu64 ", classes %" PRIu32
                       "); export it again",
                       file->path, want->name, file->spec.features, file->spec.classes);
    const float *values = from->theta + tensors_offset(&from->tensors, (uint32_t)at);
    for (uint64_t k = 0; k < want->elems; k++)
        if (!isfinite(values[k]))
            return dp_fail(err, DP_MODEL,
                           "%s: element %" PRIu64 " of tensor '%s' is not finite: its training "
                           "diverged; train it with scaled features, or a smaller --lr",
                           file->path, k, want->name);
    memcpy(file->theta + tensors_offset(&file->tensors, i), values, want->elems * sizeof *values);
    return DP_OK;
}

static dp_err theta_read(struct model_file *file, const struct safetensors *from, dp_error *err)
{
    dp_error why = {0};
    if (file->model->multiclass ? file->spec.classes < 2 : file->spec.classes != 0)
        return dp_fail(err, DP_MODEL, "%s: a %s model cannot have %" PRIu32 " classes; export it again", file->path,
                       file->model->name, file->spec.classes);
    if (file->model->declare(&file->spec, &file->tensors, &why))
        return dp_fail(err, DP_MODEL, "%s: %s", file->path, why.text);
    if (file->tensors.count != from->tensors.count)
        return dp_fail(err, DP_MODEL, "%s: has %" PRIu32 " tensors, but a %s model %s intercept has %" PRIu32,
                       file->path, from->tensors.count, file->model->name, file->spec.intercept ? "with" : "without",
                       file->tensors.count);
    /* Metadata that promise more than the file has must not make us take memory. */
    if (tensors_total(&file->tensors) > tensors_total(&from->tensors))
        return dp_fail(err, DP_MODEL,
                       "%s: has %" PRIu64 " parameters, but its metadata need %" PRIu64 "; export it again", file->path,
                       tensors_total(&from->tensors), tensors_total(&file->tensors));
    if (mem_check_room(file->path, tensors_total(&file->tensors) * sizeof *file->theta, err))
        return DP_NOMEM;
    file->theta = mem_array(tensors_total(&file->tensors), sizeof *file->theta);
    if (!file->theta)
        return dp_fail(err, DP_NOMEM, "%s: out of memory", file->path);
    dp_err e = DP_OK;
    for (uint32_t i = 0; !e && i < file->tensors.count; i++)
        e = tensor_copy(file, from, i, err);
    return e;
}

static void say_damaged(void *arg, const dp_error *err)
{
    (void)arg;
    fprintf(stderr, "dp-worker: a checkpoint is not used: %s\n", err->text);
}

/* The values of a model's file, or of a checkpoint, whose folder is then the file's path. */
static dp_err values_read(struct model_file *file, struct safetensors *from, dp_error *err)
{
    if (!checkpoint_is_folder(file->path))
        return safetensors_read(file->path, from, err);
    AUTOFREE struct saved *saved = mem_array_zero(1, sizeof *saved);
    if (!saved)
        return dp_fail(err, DP_NOMEM, "%s: out of memory", file->path);
    dp_err e = saved_open(file->path, (struct checkpoint_damage){.tell = say_damaged}, saved, err);
    if (e)
        return e;
    e = saved_load(saved, from, err);
    char *path = e ? NULL : strdup(saved->path);
    if (path) {
        free(file->path);
        file->path = path;
    } else if (!e) {
        e = dp_fail(err, DP_NOMEM, "%s: out of memory", file->path);
    }
    saved_close(saved);
    return e;
}

dp_err model_file_read(const char *path, struct model_file *ret_file, dp_error *err)
{
    AUTOFREE struct safetensors *from = mem_array_zero(1, sizeof *from);
    AUTOFREE struct model_file *file = mem_array_zero(1, sizeof *file);
    if (!from || !file || !(file->path = strdup(path)))
        return dp_fail(err, DP_NOMEM, "%s: out of memory", path);
    dp_err e = values_read(file, from, err);
    if (!e)
        e = spec_read(file, &from->meta, err);
    if (!e)
        e = hash_read(file, &from->meta, err);
    if (!e)
        e = model_schema_read(file, &from->meta, err);
    if (!e)
        e = theta_read(file, from, err);
    if (!e)
        e = labels_read(file, safetensors_meta_get(&from->meta, "labels"), err);
    file->state = model_state_read(&from->meta);
    safetensors_fini(from);
    if (e)
        model_file_fini(file);
    else
        *ret_file = *file;
    return e;
}

void model_file_fini(struct model_file *file)
{
    free(file->path);
    free(file->theta);
    label_list_fini(&file->labels);
    schema_fini(&file->schema);
    *file = (struct model_file){0};
}

dp_err model_file_data(const struct model_file *file, const struct data_source *source, struct data *ret_data,
                       dp_error *err)
{
    struct data_source whole = *source;
    char of[WANT_OF_MAX];
    snprintf(of, sizeof of, "the model %.120s", file->path);
    if (whole.label_use != LABEL_PASSED)
        whole.label_use = model_label_use(file->model);
    whole.hash_bits = file->hash_bits;
    whole.hash_seed = file->hash_seed;
    whole.features = file->spec.features;
    whole.want = &file->schema;
    whole.want_of = of;
    whole.extra_option = true;
    return data_read(&whole, ret_data, err);
}
