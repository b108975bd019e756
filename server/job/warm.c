/* A job and a model that it is to begin with; see warm.h. Thread: head. */
#include "server/job/warm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/tensor/schema.h"

enum { SHAPE_TEXT = 128, MESSAGE = 400 };

static dp_err refuse(const struct saved *saved, const char *why, dp_error *err)
{
    return dp_fail(err, DP_REFUSED, "option --init-from: %.200s: %s", saved->path, why);
}

/* ---- tensors ---- */

/* "[64, 10]", "rows of [10] by id" */
static const char *shape_text(const struct tensor *tensor, char buf[SHAPE_TEXT])
{
    const bool hashed = tensor->kind == TENSOR_HASHED;
    size_t at = 0;
    (void)str_append(buf, SHAPE_TEXT, &at, hashed ? "rows by id of [" : "[");
    for (uint32_t d = 0; d < tensor->rank; d++)
        (void)str_append(buf, SHAPE_TEXT, &at, "%s%" PRIu64, d ? ", " : "", tensor->shape[d]);
    (void)str_append(buf, SHAPE_TEXT, &at, "]");
    return buf;
}

/* A dense tensor and a table whose rows are numbered have the same values. */
static bool same_shape(const struct tensor *a, const struct tensor *b)
{
    return (a->kind == TENSOR_HASHED) == (b->kind == TENSOR_HASHED) && a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

static void list_names(const struct tensors *tensors, char *buf, size_t size)
{
    size_t at = 0;
    buf[0] = '\0';
    for (uint32_t t = 0; t < tensors->count; t++)
        if (!str_append(buf, size, &at, "%s%s", t ? ", " : "", tensors->list[t].name))
            return;
}

static dp_err check_tensor(const struct tensor *ours, const struct saved *saved, dp_error *err)
{
    char why[MESSAGE], names[128], a[SHAPE_TEXT], b[SHAPE_TEXT];
    const int at = saved_find(saved, ours->name);
    if (at < 0) {
        list_names(&saved->tensors, names, sizeof names);
        snprintf(why, sizeof why, "has no tensor '%s', which the job has; it has %s", ours->name, names);
        return refuse(saved, why, err);
    }
    const struct tensor *theirs = &saved->tensors.list[at];
    if (same_shape(ours, theirs))
        return DP_OK;
    snprintf(why, sizeof why, "its tensor '%s' is %s, that of the job is %s", ours->name, shape_text(theirs, b),
             shape_text(ours, a));
    return refuse(saved, why, err);
}

static dp_err check_tensors(const struct tensors *ours, const struct saved *saved, dp_error *err)
{
    for (uint32_t t = 0; t < ours->count; t++) {
        dp_err e = check_tensor(&ours->list[t], saved, err);
        if (e)
            return e;
    }
    for (uint32_t t = 0; t < saved->tensors.count; t++) {
        const char *name = saved->tensors.list[t].name;
        bool used = false;
        for (uint32_t i = 0; i < ours->count; i++)
            used |= strcmp(ours->list[i].name, name) == 0;
        if (!used)
            log_warn("init-from-unused tensor=\"%s\" reason=\"the job has no tensor of this name\"", name);
    }
    return DP_OK;
}

/* ---- the meaning of the values ---- */

static dp_err check_model(const struct job *job, const struct saved *saved, dp_error *err)
{
    const char *theirs = safetensors_meta_get(&saved->meta, "model");
    char why[MESSAGE];
    if (!theirs || strcmp(theirs, job->opts->model) == 0)
        return DP_OK;
    snprintf(why, sizeof why, "is a %.40s model, and the job's is %.40s: give another model, or --model %.40s", theirs,
             job->opts->model, theirs);
    return refuse(saved, why, err);
}

static dp_err check_labels(const struct job *job, const struct saved *saved, dp_error *err)
{
    const char *text = safetensors_meta_get(&saved->meta, "labels");
    char why[2 * LABEL_LIST_TEXT + 100], a[LABEL_LIST_TEXT], b[LABEL_LIST_TEXT];
    struct label_list theirs = {0};
    if (!text || !text[0] || job->labels.count == 0 || label_list_parse(text, &theirs, NULL))
        return DP_OK;
    const bool same = label_list_same(&theirs, &job->labels);
    snprintf(why, sizeof why, "its labels are %s, those of the job are %s", label_list_show(&theirs, b),
             label_list_show(&job->labels, a));
    label_list_fini(&theirs);
    return same ? DP_OK : refuse(saved, why, err);
}

static dp_err check_names(const Dp__Schema *ours, char *const *theirs, size_t count, const struct saved *saved,
                          dp_error *err)
{
    char why[MESSAGE];
    if (count != ours->n_names) {
        snprintf(why, sizeof why, "was trained on %zu columns, the job on %zu", count, ours->n_names);
        return refuse(saved, why, err);
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(theirs[i], ours->names[i]) != 0) {
            snprintf(why, sizeof why, "its column %zu is '%.60s', that of the job is '%.60s'", i, theirs[i],
                     ours->names[i]);
            return refuse(saved, why, err);
        }
    return DP_OK;
}

static dp_err check_columns(const struct job *job, const struct saved *saved, dp_error *err)
{
    const char *text = safetensors_meta_get(&saved->meta, "feature_names");
    size_t count = 0;
    if (!text || !job->schema || job->schema->n_names == 0)
        return DP_OK;
    char **names = schema_list_parse(text, SCHEMA_NAMES_MAX, &count);
    dp_err e = names ? check_names(job->schema, names, count, saved, err) : DP_OK;
    free(names);
    return e;
}

/* Features that are hashed in another way are others. */
static dp_err check_hash(const struct job *job, const struct saved *saved, dp_error *err)
{
    const char *bits = safetensors_meta_get(&saved->meta, "hash_bits");
    const char *seed = safetensors_meta_get(&saved->meta, "hash_seed");
    char why[MESSAGE], ours[32];
    if (!safetensors_meta_get(&saved->meta, "model"))
        return DP_OK;
    snprintf(ours, sizeof ours, "%" PRIu64, job->opts->hash_bits);
    if (strcmp(bits ? bits : "0", ours) != 0) {
        snprintf(why, sizeof why, "its features were hashed with --hash-bits %.20s, those of the job with %s",
                 bits ? bits : "0", ours);
        return refuse(saved, why, err);
    }
    snprintf(ours, sizeof ours, "%" PRIu64, job->opts->seed);
    if (!bits || (seed && strcmp(seed, ours) == 0))
        return DP_OK;
    snprintf(why, sizeof why,
             "its features were hashed with --seed %.20s, those of the job with %s: give the same seed",
             seed ? seed : "unknown", ours);
    return refuse(saved, why, err);
}

dp_err job_warm_check(const struct job *job, const struct saved *saved, dp_error *err)
{
    dp_err e = check_model(job, saved, err);
    if (!e)
        e = check_hash(job, saved, err);
    if (!e)
        e = check_labels(job, saved, err);
    if (!e)
        e = check_columns(job, saved, err);
    return e ? e : check_tensors(&job->core.tensors, saved, err);
}
