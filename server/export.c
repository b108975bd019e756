/* Export of theta; see export.h. Invariant: a pinned version is released exactly once, by export_free. */
#include "export.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

enum { RUN_ELEMS = 1 << 16, LABELS_TEXT_MAX = 32 };

struct export
{
    uv_work_t work;
    const struct job *job;
    const char *path;
    uint64_t step;
    bool diverged;
    uint32_t missing;         /* shards that have a part of theta and were not added */
    struct version ***pinned; /* [shard][slice] */
    float *run;               /* [RUN_ELEMS] */
    dp_error err;
    export_done done;
    void *arg;
};

dp_err export_new(const struct job *job, const char *path, uint64_t step, struct export **ret_export, dp_error *err)
{
    struct export *x = mem_array_zero(1, sizeof *x);
    if (x) {
        x->pinned = mem_array_zero(job->shard_count, sizeof *x->pinned);
        x->run = mem_array(RUN_ELEMS, sizeof *x->run);
    }
    if (!x || !x->pinned || !x->run) {
        export_free(&x);
        return dp_fail(err, DP_NOMEM, "out of memory for the export");
    }
    x->job = job;
    x->path = path;
    x->step = step;
    for (uint32_t s = 0; s < job->shard_count; s++)
        x->missing += job->shards[s].slice_count > 0;
    *ret_export = x;
    return DP_OK;
}

void export_add(struct export *x, uint32_t shard, struct version **pinned)
{
    if (!x->pinned[shard] && x->job->shards[shard].slice_count > 0)
        x->missing--;
    x->pinned[shard] = pinned;
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
    for (uint32_t s = 0; x->pinned && s < x->job->shard_count; s++) {
        for (uint32_t i = 0; x->pinned[s] && i < x->job->shards[s].slice_count; i++)
            if (x->pinned[s][i])
                version_release(x->pinned[s][i]);
        free(x->pinned[s]);
    }
    free(x->pinned);
    free(x->run);
    free(x);
    *export = NULL;
}

/* Copies the part of a run that lies in one slice. */
static void copy_overlap(const struct range *slice, const float *theta, uint64_t first, uint64_t count, float *run)
{
    uint64_t begin = MAX(first, slice->first), end = MIN(first + count, slice->first + slice->count);
    if (begin < end)
        memcpy(run + (begin - first), theta + (begin - slice->first), (size_t)(end - begin) * sizeof *run);
}

/* safetensors_source: a run of theta, gathered from the slices it touches. */
static const float *gather(void *arg, uint64_t first, uint64_t count)
{
    struct export *x = arg;
    for (uint32_t s = 0; s < x->job->shard_count; s++) {
        const struct job_shard *shard = &x->job->shards[s];
        if (shard->range.first >= first + count || shard->range.first + shard->range.count <= first)
            continue;
        for (uint32_t i = 0; i < shard->slice_count; i++) {
            if (!x->pinned[s] || !x->pinned[s][i])
                return NULL;
            copy_overlap(&shard->slices[i], x->pinned[s][i]->theta, first, count, x->run);
        }
    }
    return x->run;
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
        safetensors_meta_set(meta, "complete", "%s", x->step >= steps ? "yes" : "no"))
        return DP_NOMEM;
    return x->diverged ? safetensors_meta_set(meta, "diverged", "yes") : DP_OK;
}

static void write_file(uv_work_t *work)
{
    struct export *x = work->data;
    struct safetensors_meta meta = {0};
    if (describe(x, &meta))
        (void)dp_fail(&x->err, DP_NOMEM, "out of memory for the export");
    else if (safetensors_write(x->path, &x->job->core.tensors, &meta, gather, x, RUN_ELEMS, &x->err) == DP_OK)
        x->err.code = DP_OK;
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
