/* The training loop of dp-worker: connect, read the data that the job needs, join, and compute slots until the job is
 * done.
 *
 * A slot's gradient is a pure function of (theta, seed, step, slot): which worker computes it, on how many threads and
 * how often makes no difference. Thread: main; slots are computed by the pool's. */
#include "worker/run/train.h"

#include <math.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/tensor/plan.h"
#include "common/tensor/tensor.h"
#include "worker/data/look.h"
#include "worker/model/choose_labels.h"
#include "worker/model/labels.h"
#include "worker/model/model.h"
#include "worker/run/report.h"
#include "worker/run/schema_told.h"
#include "worker/run/slot_pool.h"
#include "worker/run/state.h"
#include "worker/run/tally.h"
#include "worker/run/touched.h"
#include "worker/run/train_data.h"
#include "worker/run/train_join.h"
#include "worker/run/train_prepare.h"

enum { ANEW_MAX = 3 /* times that the data are read again */ };

static dp_err give_slot(struct train *t, const dp_task *task, uint32_t slot, dp_error *err)
{
    bool local = dp_client_job(t->client)->local;
    struct slot_job job = {.step = task->step, .slot = local ? 0 : slot, .theta = task->theta};
    t->rank = slot;
    t->task_elems = task->theta_elems;
    if (question_of((enum question_number)task->kind)->pushes && !(job.grad = dp_gradient(t->client, err)))
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
        train_take_plan(t);
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

/* Reads the data and joins. A file whose columns are in another order than those of the worker that came first is
 * refused where that one's were not known when this one was read: then it is read again, by their names. */
static dp_err take_part(struct train *t, dp_error *err)
{
    dp_err e = connect_to(t, err);
    bool known = !e && dp_client_job(t->client)->tensor_count > 0;
    if (!e)
        e = train_data_describe(t, err);
    if (!e)
        e = train_join(t, err);
    if (e != DP_REFUSED || known || !t->model || !train_data_found(t)->schema.names)
        return e;
    const dp_error refused = *err;
    dp_leave(&t->client, e, err->text);
    e = connect_to(t, err);
    if (!e && !train_data_differ(t)) {
        *err = refused;
        return err->code;
    }
    struct dp_client *client = t->client;
    train_data_fini(t);
    *t = (struct train){.opts = t->opts, .report = t->report, .client = client, .work = {.emulate = t->work.emulate}};
    if (!e)
        e = train_data_describe(t, err);
    return e ? e : train_join(t, err);
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
        e = train_prepare(&t, err);
    if (!e)
        e = work(&t, err);
    slot_pool_free(&t.pool); /* its threads read theta, which goes with the client */
    dp_leave(&t.client, e, e ? err->text : "");
    train_data_fini(&t);
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
