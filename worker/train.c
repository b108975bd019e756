/* The training loop of dp-worker: connect, read the data that the job needs, join, and compute slots until the job is
 * done.
 *
 * A slot's gradient is a pure function of (theta, seed, step, slot): which worker computes it, on how many threads and
 * how often makes no difference. Thread: main; slots are computed by the pool's. */
#include "train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "plan.h"
#include "slot_pool.h"
#include "tensor.h"
#include "util.h"

enum { CLASSES_MAX = 65536 };

/* All that a worker holds. */
struct train {
    const struct train_options *opts;
    dp_client *client;
    const struct model *model;
    struct data train_data, eval_data;
    bool has_eval;
    double *labels; /* class -> label */
    size_t label_count;
    float *train_targets, *eval_targets;
    struct tensors tensors;
    struct slot_work work;
    struct slot_pool *pool;
};

/* ---- what the job is about ---- */

static dp_err read_data(struct train *t, dp_error *err)
{
    const struct data_options *o = &t->opts->data;
    const dp_job *job = dp_client_job(t->client);
    struct data_source source = {o->data, (enum data_format)o->format, o->label_column, o->labels, job->features};
    dp_err e = data_read(&source, &t->train_data, err);
    if (e || !o->eval)
        return e;
    t->has_eval = true;
    source = (struct data_source){o->eval, (enum data_format)o->format, o->label_column, o->eval_labels,
                                  job->features ? job->features : t->train_data.features};
    return data_read(&source, &t->eval_data, err);
}

/* --classes C: labels are 0..C-1, whether or not the data have all of them. */
static dp_err labels_of_classes(struct train *t, uint32_t classes, dp_error *err)
{
    double *all = mem_array(classes, sizeof *all);
    if (!all)
        return dp_fail(err, DP_NOMEM, "out of memory for %u classes", classes);
    for (uint32_t c = 0; c < classes; c++)
        all[c] = c;
    free(t->labels);
    t->labels = all;
    t->label_count = classes;
    return DP_OK;
}

static dp_err find_labels(struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    if (!t->model->classifies)
        return DP_OK;
    if (job->classes)
        return labels_of_classes(t, job->classes, err);
    dp_err e = data_labels(&t->train_data, CLASSES_MAX, &t->labels, &t->label_count, err);
    return e ? e : model_check_labels(t->model, t->labels, t->label_count, t->train_data.name, err);
}

static dp_err describe_model(struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    t->model = model_find(job->model);
    if (!t->model)
        return dp_fail(err, DP_MODEL, "the server's job is of model '%s'; this dp-worker knows %s", job->model,
                       model_names());
    dp_err e = read_data(t, err);
    if (!e)
        e = find_labels(t, err);
    if (e)
        return e;
    t->work.spec = (struct model_spec){
        .features = job->features ? job->features : t->train_data.features,
        .classes = t->model->classifies && strcmp(t->model->name, "softmax") == 0 ? (uint32_t)t->label_count : 0,
        .intercept = job->intercept,
    };
    return t->model->declare(&t->work.spec, &t->tensors, err);
}

/* ---- joining ---- */

static dp_dataset dataset_of(const struct train *t, const struct data *data)
{
    return (dp_dataset){
        .name = data->name,
        .rows = data->rows,
        .features = data->features,
        .fingerprint = data_fingerprint(data),
        .labels = t->labels,
        .label_count = t->label_count,
    };
}

static dp_err join(struct train *t, dp_error *err)
{
    dp_tensor tensors[TENSOR_COUNT_MAX];
    for (uint32_t i = 0; i < t->tensors.count; i++) {
        const struct tensor *from = &t->tensors.list[i];
        tensors[i] = (dp_tensor){from->name,     from->rank,        from->shape, (dp_init)from->init,
                                 from->init_arg, from->regularized, 0,           from->elems};
    }
    dp_model model = {tensors, t->tensors.count, t->work.spec.classes, t->labels, t->label_count};
    dp_dataset train = dataset_of(t, &t->train_data), eval = {0};
    if (t->has_eval)
        eval = dataset_of(t, &t->eval_data);
    return dp_join(t->client, &train, t->has_eval ? &eval : NULL, &model, err);
}

/* The settled job says what is left to know: targets, the plan, the threads' buffers. */
static dp_err prepare(struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    struct slot_work *work = &t->work;
    dp_err e = model_targets(t->model, &t->train_data, job->labels, job->label_count, &t->train_targets, err);
    if (!e && t->has_eval)
        e = model_targets(t->model, &t->eval_data, job->labels, job->label_count, &t->eval_targets, err);
    if (e)
        return e;
    work->model = t->model;
    work->train = &t->train_data;
    work->eval = t->has_eval ? &t->eval_data : NULL;
    work->train_targets = t->train_targets;
    work->eval_targets = t->eval_targets;
    work->plan = (struct plan){
        .seed = job->seed,
        .train_rows = job->train_rows,
        .eval_rows = job->eval_rows,
        .batch = job->batch,
        .train_steps = job->train_steps,
        .slots = job->slots,
    };
    return slot_pool_new(work, (uint32_t)t->opts->data.threads, &t->pool, err);
}

/* ---- the loop ---- */

static dp_err give_slot(struct train *t, const dp_task *task, uint32_t slot, dp_error *err)
{
    struct slot_job job = {.step = task->step, .slot = slot, .theta = task->theta};
    if (task->kind == DP_TRAIN && !(job.grad = dp_gradient(t->client, err)))
        return err->code;
    slot_pool_give(t->pool, &job);
    return DP_OK;
}

static dp_err hand_in(struct train *t, dp_error *err)
{
    struct slot_job job = slot_pool_take(t->pool);
    return dp_push(t->client, job.slot, job.grad, &job.metrics, err);
}

/* Computes the slots of a task, as many side by side as there are threads; stops early where nobody wants them any
 * more. */
static dp_err compute(struct train *t, const dp_task *task, dp_error *err)
{
    uint32_t next = 0, under_way = 0;
    dp_err e = DP_OK;
    while (!e && next < task->slot_count && dp_task_wanted(t->client)) {
        while (!e && next < task->slot_count && under_way < slot_pool_room(t->pool)) {
            e = give_slot(t, task, task->slots[next++], err);
            under_way += !e;
        }
        if (!e) {
            e = hand_in(t, err);
            under_way--;
        }
    }
    while (under_way-- > 0 && !e)
        e = hand_in(t, err);
    return e;
}

static dp_err work(struct train *t, dp_error *err)
{
    dp_task task;
    dp_err e;
    while ((e = dp_next(t->client, &task, err)) == DP_OK)
        if ((e = compute(t, &task, err)) != DP_OK)
            break;
    return e == DP_JOB_DONE ? DP_OK : e;
}

static void notice(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "dp-worker: %s\n", text);
}

static dp_err connect_to(struct train *t, dp_error *err)
{
    const struct train_options *o = t->opts;
    dp_config config = {
        .server = o->server,
        .name = o->name,
        .connect_timeout_ms = o->connect_timeout_s * 1000,
        .server_timeout_ms = o->server_timeout_s * 1000,
        .threads = (uint32_t)o->data.threads,
        .stop = o->stop,
        .notice = o->quiet ? NULL : notice,
    };
    return dp_connect(&config, &t->client, err);
}

static void train_fini(struct train *t)
{
    slot_pool_free(&t->pool);
    data_fini(&t->train_data);
    data_fini(&t->eval_data);
    free(t->labels);
    free(t->train_targets);
    free(t->eval_targets);
}

dp_err train_run(const struct train_options *opts, dp_error *err)
{
    struct train t = {.opts = opts};
    dp_err e = connect_to(&t, err);
    if (!e)
        e = describe_model(&t, err);
    if (!e)
        e = join(&t, err);
    if (!e)
        e = prepare(&t, err);
    if (!e)
        e = work(&t, err);
    dp_leave(&t.client, e, e ? err->text : "");
    train_fini(&t);
    return e == DP_JOB_DONE ? DP_OK : e;
}
