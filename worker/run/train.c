/* The training loop of dp-worker: connect, read the data that the job needs, join, and compute slots until the job is
 * done.
 *
 * A slot's gradient is a pure function of (theta, seed, step, slot): which worker computes it, on how many threads and
 * how often makes no difference. Thread: main; slots are computed by the pool's. */
#include "worker/run/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/tensor/plan.h"
#include "common/tensor/tensor.h"
#include "worker/data/look.h"
#include "worker/model/choose_labels.h"
#include "worker/model/labels.h"
#include "worker/model/model.h"
#include "worker/run/report.h"
#include "worker/run/schema_told.h"
#include "worker/run/slot_pool.h"
#include "worker/run/tally.h"
#include "worker/run/touched.h"

enum { ANEW_MAX = 3 /* times that the data are read again */ };

/* All that a worker holds. */
struct train {
    const struct train_options *opts;
    struct report report;
    dp_client *client;
    const struct model *model;
    struct data train_data, eval_data; /* train_data: only name, rows and features where there are blocks */
    struct data_blocks *blocks;        /* --memory-limit */
    bool has_eval;
    struct schema job_schema;  /* of a job that is settled; borrowed from the client */
    struct schema eval_schema; /* that the evaluation data are matched with; borrowed from the training data */
    char *note;                /* what was assumed in reading them */
    struct label_list labels;  /* class -> label; before joining as our data have it, then as the job has it */
    float *train_targets, *eval_targets, *block_map;
    struct data_look train_look, eval_look; /* for warnings */
    struct tensors tensors;
    struct slot_work work;
    struct touched *touched; /* where the weight is a table */
    struct slot_pool *pool;
    struct tally steps_done;
    uint64_t slots_done, samples_done; /* of ours */
    uint32_t rank;                     /* of a local job: the slot of ours */
    uint64_t task_elems;               /* of the task at hand: floats of a gradient */
    bool diverged;                     /* a gradient was not finite, and the user was told */
};

/* ---- what the job is about ---- */

static struct data_blocks_facts facts_of(const struct data *data)
{
    return (struct data_blocks_facts){.name = data->name,
                                      .rows = data->rows,
                                      .features = data->features,
                                      .sparse = data_is_sparse(data),
                                      .found = data};
}

static dp_err read_file(const struct train *t, const char *role, const struct data_source *source,
                        struct data *ret_data, dp_error *err)
{
    uint64_t begin_ms = mono_ms();
    dp_err e = data_read(source, ret_data, err);
    if (e)
        return e;
    const struct data_blocks_facts facts = facts_of(ret_data);
    report_data(&t->report, role, &facts, (double)(mono_ms() - begin_ms) / 1000);
    return DP_OK;
}

/* --memory-limit: the order of the rows has to be such that a part of them will do for a while. */
static dp_err open_blocks(struct train *t, const struct data_source *source, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    const struct data_blocks_shape shape = {job->block_rows, job->window_blocks, t->opts->data.memory_limit_mib << 20};
    uint64_t begin_ms = mono_ms();
    if (job->block_rows == 0 || job->sparse)
        return dp_fail(err, DP_USAGE, "option --memory-limit is for jobs of dp-server --shuffle block%s",
                       job->sparse ? " without --sparse" : "");
    dp_err e = data_blocks_open(source, &shape, &t->blocks, err);
    if (e)
        return e;
    const struct data_blocks_facts facts = data_blocks_facts(t->blocks);
    t->train_data = (struct data){.name = strdup(facts.name), .rows = facts.rows, .features = facts.features};
    report_data(&t->report, "train", &facts, (double)(mono_ms() - begin_ms) / 1000);
    return t->train_data.name ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory");
}

/* Dense rows touch every feature, so there would be nothing to leave out. */
static dp_err check_sparse(const dp_job *job, const struct data *data, dp_error *err)
{
    if (job->sparse && !data_is_sparse(data))
        return dp_fail(err, DP_DATA,
                       "%s: is dense, and this job is --sparse; give LIBSVM data, or start dp-server without --sparse",
                       data->name);
    return DP_OK;
}

static dp_err read_train(struct train *t, const struct data_source *source, dp_error *err)
{
    if (t->opts->data.memory_limit_mib)
        return open_blocks(t, source, err);
    dp_err e = read_file(t, "train", source, &t->train_data, err);
    return e ? e : check_sparse(dp_client_job(t->client), &t->train_data, err);
}

static const struct data *found_of(const struct train *t)
{
    return t->blocks ? data_blocks_facts(t->blocks).found : &t->train_data;
}

/* Evaluation data are matched with the training data, by the names of the columns, and have to be as wide. */
static dp_err read_eval(struct train *t, struct data_source *source, dp_error *err)
{
    const struct data_options *o = &t->opts->data;
    const dp_job *job = dp_client_job(t->client);
    t->has_eval = t->report.evaluates = true;
    t->eval_schema = found_of(t)->schema; /* borrowed */
    t->eval_schema.count = job->features ? job->features : t->train_data.features;
    source->path = o->eval;
    source->labels_path = o->eval_labels;
    source->features = t->eval_schema.count;
    source->want = &t->eval_schema;
    source->want_of = "the training set";
    source->extra_option = true;
    source->extra_ignored = o->extra_features == 1;
    if (t->eval_schema.format == SCHEMA_CSV)
        source->label_column = NULL; /* it is where the training data's was, or has its name */
    dp_err e = read_file(t, "eval", source, &t->eval_data, err);
    return e ? e : check_sparse(job, &t->eval_data, err);
}

static dp_err read_data(struct train *t, dp_error *err)
{
    const struct data_options *o = &t->opts->data;
    const dp_job *job = dp_client_job(t->client);
    struct data_source source = {.path = o->data,
                                 .format = (enum data_format)o->format,
                                 .header = (enum data_header)o->header,
                                 .label_column = o->label_column,
                                 .ignore = o->ignore,
                                 .labels_path = o->labels,
                                 .features = job->features,
                                 .hash_bits = job->hash_bits,
                                 .hash_seed = job->seed,
                                 .want = schema_of_job(job, &t->job_schema),
                                 .want_of = "the job",
                                 .label_use = model_label_use(t->model),
                                 .stop = t->opts->stop};
    if (job->evaluate && !o->eval)
        return dp_fail(err, DP_USAGE, "this job evaluates: give --eval FILE");
    dp_err e = read_train(t, &source, err);
    if (e || !o->eval)
        return e;
    return read_eval(t, &source, err);
}

static const struct label_set *labels_found(const struct train *t)
{
    return t->blocks ? data_blocks_facts(t->blocks).labels : t->train_data.label_set;
}

static dp_err find_labels(struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    struct label_list names = {0};
    if (!t->model->classifies)
        return DP_OK;
    char notice[CHOOSE_NOTICE_MAX];
    if (labels_mixed(labels_found(t), t->train_data.name, notice))
        report_notice(&t->report, notice);
    dp_err e = label_list_take(NULL, job->labels_asked, job->labels_asked_count, &names, err);
    const struct labels_wish wish = {.local = job->local, .classes = job->classes_asked, .names = &names};
    if (!e)
        e = choose_labels(t->model, &wish, labels_found(t), t->train_data.name, &t->labels, err);
    label_list_fini(&names);
    return e;
}

/* What the server warns of, and this worker as well, whose log may be all that is read. */
static void look_at_data(struct train *t)
{
    data_look_labels(&t->train_data, &t->train_look);
    data_look_scales(&t->train_data, (const char *const *)t->train_data.schema.names, &t->train_look);
    if (t->has_eval)
        data_look_labels(&t->eval_data, &t->eval_look);
    if (t->train_look.scales[0])
        report_scales(&t->report, t->train_data.name, t->train_look.scales);
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
    look_at_data(t);
    t->work.spec = (struct model_spec){
        .features = job->features ? job->features : t->train_data.features,
        .classes = t->model->multiclass ? (uint32_t)t->labels.count : 0,
        .intercept = job->intercept,
        .table = job->sparse,
    };
    return t->model->declare(&t->work.spec, &t->tensors, err);
}

/* ---- joining ---- */

static dp_dataset dataset_of(const struct train *t, const struct data *data)
{
    const struct data_look *look = data == &t->eval_data ? &t->eval_look : &t->train_look;
    return (dp_dataset){
        .zero_loss = look->zero_loss,
        .majority = look->majority,
        .scales = look->scales,
        .name = data->name,
        .rows = data->rows,
        .features = data->features,
        .fingerprint =
            t->blocks && data == &t->train_data ? data_blocks_facts(t->blocks).fingerprint : data_fingerprint(data),
    };
}

/* theta is read and gradients are written by our own description of the tensors. */
static dp_err check_tensors(const struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    bool same = job->tensor_count == t->tensors.count;
    for (uint32_t i = 0; same && i < job->tensor_count; i++) {
        const struct tensor *ours = &t->tensors.list[i];
        const dp_tensor *theirs = &job->tensors[i];
        same = strcmp(theirs->name, ours->name) == 0 && theirs->rank == ours->rank &&
               theirs->kind == (dp_kind)ours->kind &&
               memcmp(theirs->shape, ours->shape, ours->rank * sizeof *ours->shape) == 0;
    }
    if (!same)
        return dp_fail(err, DP_MODEL, "the job's tensors are not those of %s for %s", job->model, t->train_data.name);
    return DP_OK;
}

/* dp_model.rows: the weight is the only table. */
static dp_err rows_of(void *arg, const dp_ask *ask, dp_rows *rows, dp_error *err)
{
    struct train *t = arg;
    return touched_rows(t->touched, ask, rows, err);
}

/* Notes on training and evaluation data in one. */
static dp_err note_all(struct train *t, dp_error *err)
{
    const char *train = found_of(t)->note, *eval = t->has_eval ? t->eval_data.note : NULL;
    if (asprintf(&t->note, "%s%s%s", train ? train : "", train && eval ? "; " : "", eval ? eval : "") >= 0)
        return DP_OK;
    t->note = NULL;
    return dp_fail(err, DP_NOMEM, "out of memory");
}

static dp_err join_with(struct train *t, const dp_model *model, dp_error *err)
{
    if (dp_client_job(t->client)->local)
        return dp_join_free(t->client, model, err);
    dp_dataset train = dataset_of(t, &t->train_data), eval = {0};
    if (t->has_eval)
        eval = dataset_of(t, &t->eval_data);
    return dp_join(t->client, &train, t->has_eval ? &eval : NULL, model, err);
}

static dp_err join(struct train *t, dp_error *err)
{
    dp_tensor tensors[TENSOR_COUNT_MAX];
    for (uint32_t i = 0; i < t->tensors.count; i++) {
        const struct tensor *from = &t->tensors.list[i];
        tensors[i] = (dp_tensor){.name = from->name,
                                 .rank = from->rank,
                                 .shape = from->shape,
                                 .init = (dp_init)from->init,
                                 .init_arg = from->init_arg,
                                 .regularized = from->regularized,
                                 .kind = (dp_kind)from->kind};
    }
    if (note_all(t, err))
        return err->code;
    const dp_schema schema = schema_told(&found_of(t)->schema, t->note);
    AUTOFREE char **texts = label_list_texts(&t->labels);
    if (!texts)
        return dp_fail(err, DP_NOMEM, "out of memory for %zu labels", t->labels.count);
    dp_model model = {.tensors = tensors,
                      .tensor_count = t->tensors.count,
                      .classes = t->work.spec.classes,
                      .label_texts = (const char *const *)texts,
                      .label_count = t->labels.count,
                      .rows = rows_of,
                      .rows_arg = t,
                      .schema = &schema};
    dp_err e = join_with(t, &model, err);
    if (!e)
        e = check_tensors(t, err);
    if (!e)
        report_joined(&t->report, t->opts->server, dp_client_job(t->client));
    return e;
}

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
        e = model_map(t->model, labels_found(t), t->train_data.name, &t->labels, whose, &t->block_map, err);
    if (!e && t->has_eval)
        e = model_targets(t->model, &t->eval_data, &t->labels, whose, &t->eval_targets, err);
    return e;
}

/* The settled job says what is left to know: targets, the plan, the threads' buffers. */
static dp_err prepare(struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    struct slot_work *work = &t->work;
    dp_err e = make_targets(t, err);
    if (e)
        return e;
    work->model = t->model;
    work->train = &t->train_data;
    work->blocks = t->blocks;
    work->block_map = t->block_map;
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
        .block_rows = job->block_rows,
        .window_blocks = job->window_blocks,
    };
    if (job->local)
        work->plan = local_plan(job, t->train_data.rows);
    const struct touched_source source = {&work->plan, work->train, work->eval, work->train_targets,
                                          work->eval_targets};
    if (job->sparse && !(t->touched = touched_new(&source)))
        return dp_fail(err, DP_NOMEM, "out of memory");
    return slot_pool_new(work, (uint32_t)t->opts->data.threads, &t->pool, err);
}

/* ---- the loop ---- */

static dp_err give_slot(struct train *t, const dp_task *task, uint32_t slot, dp_error *err)
{
    bool local = dp_client_job(t->client)->local;
    struct slot_job job = {.step = task->step, .slot = local ? 0 : slot, .theta = task->theta};
    t->rank = slot;
    t->task_elems = task->theta_elems;
    if (task->kind == DP_TRAIN && !(job.grad = dp_gradient(t->client, err)))
        return err->code;
    if (t->touched)
        job.touched = touched_find(t->touched, task->tag, slot);
    slot_pool_give(t->pool, &job);
    return DP_OK;
}

/* A gradient that overflows where the loss, a double, does not: the job has diverged, which its loss says. */
static dp_err hand_in_diverged(struct train *t, uint32_t slot, const struct slot_job *job, dp_error *err)
{
    dp_metrics metrics = {.count = job->metrics.count, .loss = NAN};
    if (!t->diverged)
        report_notice(&t->report, err->text);
    t->diverged = true;
    float *grad = dp_gradient(t->client, err);
    if (!grad)
        return err->code;
    memset(grad, 0, (size_t)t->task_elems * sizeof *grad);
    return dp_push(t->client, slot, grad, &metrics, err);
}

static dp_err hand_in(struct train *t, dp_error *err)
{
    struct slot_job job = slot_pool_take(t->pool);
    if (job.err.code) {
        dp_gradient_free(t->client, job.grad);
        return dp_fail(err, job.err.code, "%s", job.err.text);
    }
    t->slots_done++;
    t->samples_done += job.metrics.count;
    uint32_t slot = dp_client_job(t->client)->local ? t->rank : job.slot;
    dp_err e = dp_push(t->client, slot, job.grad, &job.metrics, err);
    return e == DP_DATA && isfinite(job.metrics.loss) ? hand_in_diverged(t, slot, &job, err) : e;
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
    const char *done = "the job is done";
    uint64_t begin_ms = mono_ms();
    dp_task task;
    dp_err e;
    bool local = dp_client_job(t->client)->local;
    while ((e = dp_next(t->client, &task, err)) == DP_OK) {
        if (local && task.step >= plan_total(&t->work.plan)) {
            e = DP_JOB_DONE; /* our part of it */
            done = "its data are through";
            break;
        }
        tally_add(&t->steps_done, task.step);
        if (t->touched)
            touched_forget(t->touched, task.step);
        if ((e = compute(t, &task, err)) != DP_OK)
            break;
    }
    if (e != DP_JOB_DONE)
        return e;
    report_done(&t->report, done, t->steps_done.steps, t->slots_done, t->samples_done,
                (double)(mono_ms() - begin_ms) / 1000);
    return DP_OK;
}

static void notice(void *arg, const char *text)
{
    report_notice(arg, text);
}

static dp_err connect_to(struct train *t, dp_error *err)
{
    const struct train_options *o = t->opts;
    dp_config config = {
        .server = o->server,
        .shm = o->shm,
        .name = o->name,
        .connect_timeout_ms = o->connect_timeout_s * 1000,
        .server_timeout_ms = o->server_timeout_s * 1000,
        .threads = (uint32_t)o->data.threads,
        .stop = o->stop,
        .notice = notice,
        .notice_arg = &t->report,
        .secret_file = o->secret_file,
    };
    return dp_connect(&config, &t->client, err);
}

static void train_fini(struct train *t)
{
    data_fini(&t->train_data);
    data_blocks_free(&t->blocks);
    data_fini(&t->eval_data);
    touched_free(&t->touched);
    free(t->note);
    label_list_fini(&t->labels);
    free(t->block_map);
    free(t->train_targets);
    free(t->eval_targets);
}

/* Whether the job, which was settled meanwhile, has its columns in another order than the data that were read. */
static bool columns_differ(const struct train *t)
{
    struct schema job;
    const struct schema *ours = &found_of(t)->schema, *theirs = schema_of_job(dp_client_job(t->client), &job);
    bool same = theirs && theirs->names && theirs->count == ours->count;
    for (uint64_t i = 0; same && i < ours->count; i++)
        same = strcmp(ours->names[i], theirs->names[i]) == 0;
    return theirs && theirs->names && !same;
}

/* Reads the data and joins. A file whose columns are in another order than those of the worker that came first is
 * refused where that one's were not known when this one was read: then it is read again, by their names. */
static dp_err take_part(struct train *t, dp_error *err)
{
    dp_err e = connect_to(t, err);
    bool known = !e && dp_client_job(t->client)->tensor_count > 0;
    if (!e)
        e = describe_model(t, err);
    if (!e)
        e = join(t, err);
    if (e != DP_REFUSED || known || !t->model || !found_of(t)->schema.names)
        return e;
    const dp_error refused = *err;
    dp_leave(&t->client, e, err->text);
    e = connect_to(t, err);
    if (!e && !columns_differ(t)) {
        *err = refused;
        return err->code;
    }
    struct dp_client *client = t->client;
    train_fini(t);
    *t = (struct train){.opts = t->opts, .report = t->report, .client = client, .work = {.emulate = t->work.emulate}};
    if (!e)
        e = describe_model(t, err);
    return e ? e : join(t, err);
}

/* From connecting to leaving. DP_INCARNATION: the job was settled anew while the data were read. */
static dp_err train_once(const struct train_options *opts, dp_error *err)
{
    struct train t = {.opts = opts, .report = {.quiet = opts->quiet, .json = opts->json}};
    dp_err e =
        emulate_init(&t.work.emulate, opts->data.emulate_slot_ms, opts->emulate_slower, opts->data.emulate_stalls, err);
    t.work.emulate.stop = opts->stop;
    if (!e)
        e = take_part(&t, err);
    if (!e)
        e = prepare(&t, err);
    if (!e)
        e = work(&t, err);
    slot_pool_free(&t.pool); /* its threads read theta, which goes with the client */
    dp_leave(&t.client, e, e ? err->text : "");
    train_fini(&t);
    if (opts->totals)
        *opts->totals = (struct report_totals){t.steps_done.steps, t.slots_done, t.samples_done};
    if (e != DP_JOB_DONE)
        return e;
    report_done(&t.report, "the job is done", 0, 0, 0, 0); /* it was before this worker had a part in it */
    return DP_OK;
}

dp_err train_run(const struct train_options *opts, dp_error *err)
{
    struct report report = {.quiet = opts->quiet, .json = opts->json};
    dp_err e = train_once(opts, err);
    for (int again = 0; e == DP_INCARNATION && again < ANEW_MAX; again++) {
        report_notice(&report, "the job was settled anew, reading the data again");
        e = train_once(opts, err);
    }
    return e;
}
