/* Exports; see export.h. Invariant: a pinned version and a copy are released exactly once, by export_free. */
#include "server/save/export.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/process.h"
#include "common/base/text.h"
#include "common/tensor/safetensors_peek.h"
#include "server/save/describe.h"
#include "server/save/model_file.h"

struct export
{
    uv_work_t work;
    const struct job *job;
    uint64_t step;
    bool diverged, sealed;
    bool over;                 /* the job was, when the export was asked for: the head may write it meanwhile */
    char *labels;              /* of the metadata */
    uint32_t missing;          /* shards that have a part of theta and were not added */
    struct version ***pinned;  /* [shard][slice] */
    struct rows_copy **copies; /* [shard][part] */
    struct export_file file;
    uint64_t digest;
    const char *wanted; /* the path asked for */
    bool exact;         /* there, or nowhere */
    int *held;
    char path[PATH_MAX]; /* that it is written to */
    dp_error err;
    export_done done;
    void *arg;
};

dp_err export_new(const struct job *job, uint64_t step, struct export **ret_export, dp_error *err)
{
    struct export *x = mem_array_zero(1, sizeof *x);
    if (x) {
        x->job = job;
        x->step = step;
        x->over = job->over;
        x->file.tensors = &job->core.tensors;
        x->pinned = mem_array_zero(job->shard_count, sizeof *x->pinned);
        x->copies = mem_array_zero(job->shard_count, sizeof *x->copies);
        x->labels = describe_labels(job);
    }
    if (!x || !x->pinned || !x->copies || !x->labels) {
        export_free(&x);
        return dp_fail(err, DP_NOMEM, "out of memory for the export");
    }
    for (uint32_t s = 0; s < job->shard_count; s++)
        x->missing += job_shard_holds(&job->shards[s]);
    *ret_export = x;
    return DP_OK;
}

void export_add(struct export *x, uint32_t shard, struct version **pinned, struct rows_copy *copies)
{
    assert(shard < x->job->shard_count && !x->pinned[shard] && !x->copies[shard]);
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
    free(x->labels);
    export_file_fini(&x->file);
    free(x);
    *export = NULL;
}

/* Training steps that theta has seen. */
static uint64_t trained(const struct export *x)
{
    const struct plan *plan = &x->job->core.plan;
    return plan_trained(plan, x->step);
}

static bool complete(const struct export *x)
{
    return !x->diverged && (x->step >= plan_total(&x->job->core.plan) || x->over);
}

struct export_facts export_facts(const struct export *x)
{
    return (struct export_facts){trained(x), complete(x), x->diverged, x->file.bytes, x->digest};
}

static dp_err describe(const struct export *x, struct safetensors_meta *meta)
{
    return describe_model(x->job, &(struct described){x->labels, trained(x), complete(x), x->diverged}, meta);
}

/* Adds the runs of all values; false if a shard did not have them. */
static bool add_runs(struct export *x)
{
    struct export_file *file = &x->file;
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

static void unseal(struct export *x)
{
    export_file_fini(&x->file);
    x->file.tensors = &x->job->core.tensors;
}

/* Gathers what there is and makes the head of the file, once. */
static dp_err seal(struct export *x, dp_error *err)
{
    struct safetensors_meta meta = {0};
    if (x->sealed)
        return DP_OK;
    if (!add_runs(x)) {
        unseal(x);
        return dp_fail(err, DP_NOMEM, "the values of the model are not at hand, or there is no memory for them");
    }
    x->diverged |= !export_file_finite(&x->file);
    dp_err e = describe(x, &meta) ? dp_fail(err, DP_NOMEM, "out of memory for the export")
                                  : export_file_seal(&x->file, &meta, err);
    safetensors_meta_fini(&meta);
    x->sealed = !e;
    if (e)
        unseal(x);
    return e;
}

static void seal_work(uv_work_t *work)
{
    struct export *x = work->data;
    x->err.code = seal(x, &x->err);
    if (!x->err.code && export_file_digest(&x->file, &x->digest))
        (void)dp_fail(&x->err, DP_NOMEM, "out of memory for the export");
}

static dp_err choose_path(struct export *x, dp_error *err)
{
    if (!complete(x) && !x->exact)
        return safetensors_peek_unfinished(x->wanted, x->diverged ? "diverged" : "stopped", x->path, sizeof x->path,
                                           err);
    if (!str_copy(x->path, sizeof x->path, x->wanted))
        return dp_fail(err, DP_IO, "the path is too long: %.80s...", x->wanted);
    return safetensors_peek_replace(x->path, complete(x), err);
}

static void write_work(uv_work_t *work)
{
    struct export *x = work->data;
    dp_err e = seal(x, &x->err);
    if (e)
        (void)dp_fail_in(&x->err, "%.300s", x->wanted);
    if (!e)
        e = choose_path(x, &x->err);
    if (!e)
        e = export_file_write(&x->file, x->held, x->path, &x->err);
    x->err.code = e;
}

static void worked(uv_work_t *work, int status)
{
    struct export *x = work->data;
    if (status)
        (void)dp_fail(&x->err, DP_SYSTEM, "the export was cancelled");
    x->done(x->arg, &x->err);
}

static void start(struct export *x, uv_loop_t *loop, uv_work_cb work, export_done done, void *arg)
{
    x->work.data = x;
    x->done = done;
    x->arg = arg;
    if (uv_queue_work(loop, &x->work, work, worked)) {
        work(&x->work);
        worked(&x->work, 0);
    }
}

static void nothing(uv_work_t *work)
{
    (void)work;
}

dp_err export_pool_start(uv_loop_t *loop, dp_error *err)
{
    static uv_work_t first;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", THREADS_POOL);
    dp_err e = threads_ensure(THREADS_POOL, err);
    if (!e && (setenv("UV_THREADPOOL_SIZE", threads, 1) || uv_queue_work(loop, &first, nothing, NULL)))
        e = dp_fail(err, DP_SYSTEM, "the threads that write the model cannot be started");
    return e;
}

void export_seal(struct export *x, uv_loop_t *loop, export_done done, void *arg)
{
    start(x, loop, seal_work, done, arg);
}

void export_read(struct export *x, uint64_t offset, size_t bytes, void *to)
{
    export_file_read(&x->file, offset, bytes, to);
}

void export_write(struct export *x, uv_loop_t *loop, const struct export_place *place, export_done done, void *arg)
{
    x->wanted = place->path;
    x->exact = place->exact;
    x->held = place->held;
    start(x, loop, write_work, done, arg);
}

const char *export_path(const struct export *x)
{
    return x->path;
}
