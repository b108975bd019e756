/* Exports; see export.h. Invariant: a pinned version and a copy are released exactly once, by export_free. */
#include "export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export_file.h"

enum { LABELS_TEXT_MAX = 32 };

struct export
{
    uv_work_t work;
    const struct job *job;
    const char *path;
    uint64_t step;
    bool diverged;
    uint32_t missing;          /* shards that have a part of theta and were not added */
    struct version ***pinned;  /* [shard][slice] */
    struct rows_copy **copies; /* [shard][part] */
    dp_error err;
    export_done done;
    void *arg;
};

dp_err export_new(const struct job *job, const char *path, uint64_t step, struct export **ret_export, dp_error *err)
{
    struct export *x = mem_array_zero(1, sizeof *x);
    if (x) {
        x->pinned = mem_array_zero(job->shard_count, sizeof *x->pinned);
        x->copies = mem_array_zero(job->shard_count, sizeof *x->copies);
    }
    if (!x || !x->pinned || !x->copies) {
        export_free(&x);
        return dp_fail(err, DP_NOMEM, "out of memory for the export");
    }
    x->job = job;
    x->path = path;
    x->step = step;
    for (uint32_t s = 0; s < job->shard_count; s++)
        x->missing += job_shard_holds(&job->shards[s]);
    *ret_export = x;
    return DP_OK;
}

void export_add(struct export *x, uint32_t shard, struct version **pinned, struct rows_copy *copies)
{
    if (job_shard_holds(&x->job->shards[shard]))
        x->missing--;
    x->pinned[shard] = pinned;
    x->copies[shard] = copies;
}

void export_mark_diverged(struct export *x)
{
    x->diverged = true;
}

bool export_whole(const struct export *x)
{
    return x->missing == 0;
}

void export_free(struct export **export)
{
    struct export *x = *export;
    if (!x)
        return;
    for (uint32_t s = 0; x->pinned && x->copies && s < x->job->shard_count; s++) {
        for (uint32_t i = 0; x->pinned[s] && i < x->job->shards[s].slice_count; i++)
            if (x->pinned[s][i])
                version_release(x->pinned[s][i]);
        free(x->pinned[s]);
        for (uint32_t i = 0; x->copies[s] && i < x->job->shards[s].part_count; i++)
            rows_copy_fini(&x->copies[s][i]);
        free(x->copies[s]);
    }
    free(x->pinned);
    free(x->copies);
    free(x);
    *export = NULL;
}

/* "0,1,2": class -> label. Heap, NULL when out of memory. */
static char *labels_text(const struct job *job)
{
    size_t size = job->label_count * LABELS_TEXT_MAX + 1, at = 0;
    char *text = mem_array_zero(size, 1);
    for (size_t i = 0; text && i < job->label_count; i++)
        (void)str_append(text, size, &at, "%s%.9g", i ? "," : "", job->labels[i]);
    return text;
}

static dp_err describe(const struct export *x, struct safetensors_meta *meta)
{
    const struct job *job = x->job;
    AUTOFREE char *labels = labels_text(job);
    uint64_t steps = plan_total(&job->core.plan);
    uint64_t trained = x->step < steps ? plan_at(&job->core.plan, x->step).train_step : job->core.plan.train_steps;
    if (job->opts->hash_bits && (safetensors_meta_set(meta, "hash_bits", "%" PRIu64, job->opts->hash_bits) ||
                                 safetensors_meta_set(meta, "hash_seed", "%" PRIu64, job->opts->seed)))
        return DP_NOMEM;
    if (!labels || safetensors_meta_set(meta, "format", "dp-model-1") ||
        safetensors_meta_set(meta, "model", "%s", job->opts->model) ||
        safetensors_meta_set(meta, "features", "%" PRIu64, job->features) ||
        safetensors_meta_set(meta, "classes", "%" PRIu32, job->classes) ||
        safetensors_meta_set(meta, "intercept", "%s", job->opts->intercept ? "on" : "off") ||
        safetensors_meta_set(meta, "labels", "%s", labels) ||
        safetensors_meta_set(meta, "dp_version", "%s", DP_VERSION_TEXT) ||
        safetensors_meta_set(meta, "steps", "%" PRIu64, trained) ||
        safetensors_meta_set(meta, "complete", "%s", x->step >= steps || job->over ? "yes" : "no"))
        return DP_NOMEM;
    if (export_schema(job->schema, meta))
        return DP_NOMEM;
    return x->diverged ? safetensors_meta_set(meta, "diverged", "yes") : DP_OK;
}

/* Where all values are; false where a shard did not have them. */
static bool add_runs(const struct export *x, struct export_file *file)
{
    for (uint32_t s = 0; s < x->job->shard_count; s++) {
        const struct job_shard *shard = &x->job->shards[s];
        for (uint32_t i = 0; i < shard->slice_count; i++)
            if (!x->pinned[s] || !x->pinned[s][i] || export_file_theta(file, shard->slices[i], x->pinned[s][i]->theta))
                return false;
        for (uint32_t i = 0; i < shard->part_count; i++)
            if (!x->copies[s] || export_file_rows(file, shard->parts[i].tensor, &x->copies[s][i]))
                return false;
    }
    return true;
}

static void write_file(uv_work_t *work)
{
    struct export *x = work->data;
    struct safetensors_meta meta = {0};
    struct export_file file = {.tensors = &x->job->core.tensors};
    if (describe(x, &meta))
        (void)dp_fail(&x->err, DP_NOMEM, "out of memory for the export");
    else if (!add_runs(x, &file))
        (void)dp_fail(&x->err, DP_IO, "%s: the values of the model are not at hand, or there is no memory for them",
                      x->path);
    else if (export_file_write(&file, x->path, &meta, &x->err) == DP_OK)
        x->err.code = DP_OK;
    export_file_fini(&file);
    safetensors_meta_fini(&meta);
}

static void written(uv_work_t *work, int status)
{
    struct export *x = work->data;
    if (status)
        (void)dp_fail(&x->err, DP_SYSTEM, "the export was cancelled");
    x->done(x->arg, &x->err);
    export_free(&x);
}

void export_start(struct export **export, uv_loop_t *loop, export_done done, void *arg)
{
    struct export *x = *export;
    *export = NULL;
    x->work.data = x;
    x->done = done;
    x->arg = arg;
    if (uv_queue_work(loop, &x->work, write_file, written)) {
        write_file(&x->work);
        written(&x->work, 0);
    }
}
