/* Preparation for the loop. Thread: main. */
#include "worker/run/train_prepare.h"

#include "common/base/util.h"
#include "common/tensor/plan.h"
#include "worker/model/labels.h"
#include "worker/run/train_data.h"

/* A worker with data of its own goes through them in minibatches of its own: one slot at a step, which rows it has is a
 * function of (seed, step) and the data, so that one that comes back goes on where the job is. */
static struct plan local_plan(const dp_job *job, uint64_t rows)
{
    struct plan plan = {
        .seed = job->seed,
        .train_rows = rows,
        .batch = MIN(MAX(job->local_rows, 1), rows),
        .train_steps = job->train_steps,
        .slots = 1,
        .block_rows = job->block_rows,
        .window_blocks = job->window_blocks,
    };
    if (job->local_epochs)
        plan.train_steps = MIN(plan.train_steps, job->local_epochs * plan_steps_per_epoch(&plan));
    return plan;
}

/* The labels as the job has them, in the first worker's spelling. A local job may have none yet: then all of our rows
 * have the label 1, which any of its lists has as the greater. */
static dp_err take_labels(struct train *t, dp_error *err)
{
    static const double PAIR[] = {0, 1};
    const dp_job *job = dp_client_job(t->client);
    if (!t->model->classifies)
        return DP_OK;
    label_list_fini(&t->labels);
    if (job->label_count)
        return label_list_take(NULL, job->label_texts, job->label_count, &t->labels, err);
    return label_list_take(PAIR, NULL, 2, &t->labels, err);
}

static dp_err make_targets(struct train *t, dp_error *err)
{
    const char *whose = "the job's";
    dp_err e = take_labels(t, err);
    if (!e && !t->blocks)
        e = model_targets(t->model, &t->train_data, &t->labels, whose, &t->train_targets, err);
    if (!e && t->blocks && t->model->classifies)
        e = model_map(t->model, train_data_labels(t), t->train_data.name, &t->labels, whose, &t->block_map, err);
    if (!e && t->has_eval)
        e = model_targets(t->model, &t->eval_data, &t->labels, whose, &t->eval_targets, err);
    return e;
}

void train_take_plan(struct train *t)
{
    const dp_job *job = dp_client_job(t->client);
    const struct plan plan = {
        .seed = job->seed,
        .train_rows = job->train_rows,
        .eval_rows = job->eval_rows,
        .batch = job->batch,
        .train_steps = job->train_steps,
        .slots = job->slots,
        .block_rows = job->block_rows,
        .window_blocks = job->window_blocks,
    };
    t->work.plan = job->local ? local_plan(job, t->train_data.rows) : plan;
}

dp_err train_prepare(struct train *t, dp_error *err)
{
    struct slot_work *work = &t->work;
    dp_err e = make_targets(t, err);
    if (e)
        return e;
    work->model = t->model;
    work->sets[ROWS_TRAIN] = (struct labelled){&t->train_data, t->train_targets};
    work->sets[ROWS_EVAL] = (struct labelled){t->has_eval ? &t->eval_data : NULL, t->eval_targets};
    work->blocks = t->blocks;
    work->block_map = t->block_map;
    train_take_plan(t);
    const struct touched_source source = {&work->plan, {work->sets[ROWS_TRAIN], work->sets[ROWS_EVAL]}};
    if (work->spec.table && !(t->touched = touched_new(&source)))
        return dp_fail(err, DP_NOMEM, "out of memory");
    return slot_pool_new(work, (uint32_t)t->opts->data.threads, &t->pool, err);
}
