/* The job; see job.h.
 *
 * Invariant: once settled, nothing of it changes: shards and messages refer to it without copies. Thread: head. */
#include "server/job/job.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/entropy.h"
#include "common/base/mem_room.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/job/labels.h"
#include "server/job/layout.h"
#include "server/job/parts.h"
#include "server/job/schema.h"
#include "common/checkpoint/manifest.h"

/* Local jobs: steps that no job reaches, and how many are reported at a time. */
#define LOCAL_STEPS_MAX ((uint64_t)1 << 48)
enum { LOCAL_REPORT_STEPS = 100 };

/* The job as it was asked for, which the first worker's data complete. NULL when out of memory. */
static Dp__Job *wire_new(const struct server_options *opts)
{
    Dp__Job *wire = mem_array_zero(1, sizeof *wire);
    if (!wire)
        return NULL;
    dp__job__init(wire);
    wire->model = (char *)opts->model;
    wire->features = opts->features;
    wire->intercept = opts->intercept;
    wire->batch = opts->batch;
    wire->slots = (uint32_t)opts->slots;
    wire->seed = opts->seed;
    wire->sparse = opts->sparse;
    wire->hash_bits = (uint32_t)opts->hash_bits;
    wire->evaluate = opts->data.eval != NULL;
    wire->block_rows = opts->by_blocks ? opts->block_rows : 0;
    wire->window_blocks = opts->by_blocks ? (uint32_t)opts->window_blocks : 0;
    wire->local = opts->local;
    wire->singly = job_droppable(opts);
    wire->local_rows = (opts->batch + opts->slots - 1) / opts->slots;
    wire->local_epochs = opts->local && opts->steps == 0 ? opts->epochs : 0;
    if (job_ask_labels(opts, wire))
        mem_freep(&wire);
    return wire;
}

/* A wire job that has no more than what was asked for. */
static void asked_free(Dp__Job *wire)
{
    if (wire)
        free(wire->labels_asked);
    free(wire);
}

dp_err job_init(struct job *job, const struct server_options *opts, dp_error *err)
{
    *job = (struct job){.opts = opts, .incarnation = entropy_u64(), .wire = wire_new(opts), .asked = wire_new(opts)};
    if (job->wire && job->asked)
        return DP_OK;
    job_fini(job);
    return dp_fail(err, DP_NOMEM, "out of memory for the job");
}

static void free_wire(Dp__Job *wire)
{
    for (size_t i = 0; wire->tensors && i < wire->n_tensors; i++)
        free(wire->tensors[i]);
    for (size_t i = 0; wire->shards && i < wire->n_shards; i++) {
        job_free_parts(wire->shards[i]);
        free(wire->shards[i]);
    }
    free(wire->tensors);
    free(wire->shards);
    wire->tensors = NULL;
    wire->shards = NULL;
    wire->n_tensors = wire->n_shards = 0;
}

/* Takes back what settling made. */
static void unsettle(struct job *job)
{
    free_wire(job->wire);
    for (uint32_t s = 0; job->shards && s < job->shard_count; s++) {
        free(job->shards[s].slices);
        free(job->shards[s].slice_elems);
        free(job->shards[s].parts);
    }
    free(job->shards);
    job_forget_labels(job);
    job->shards = NULL;
    job->shard_count = 0;
    if (job->schema)
        dp__schema__free_unpacked(job->schema, NULL);
    job->schema = job->wire->schema = NULL;
}

void job_fini(struct job *job)
{
    if (job->wire)
        unsettle(job);
    asked_free(job->wire);
    asked_free(job->asked);
    schedule_past_fini(&job->past_rates);
    free(job->cuts);
    *job = (struct job){0};
}

dp_err job_unsettle(struct job *job, dp_error *err)
{
    Dp__Job *wire = wire_new(job->opts);
    if (!wire)
        return dp_fail(err, DP_NOMEM, "out of memory for the job");
    unsettle(job);
    asked_free(job->wire);
    job->wire = wire;
    job->settled = job->batch_cut = false;
    job->numerics[0] = '\0';
    job->set_schedule = job->core.params.schedule;
    job->set_consistency = job->core.consistency;
    job->core = (struct shard_job){0};
    return DP_OK;
}

dp_err job_reopen(struct job *job, dp_error *err)
{
    if (job_unsettle(job, err))
        return err->code;
    job->incarnation = entropy_u64();
    return DP_OK;
}

bool job_open_ended(const struct job *job)
{
    return job->core.local && job->core.plan.train_steps == LOCAL_STEPS_MAX;
}

uint64_t job_epochs(const struct job *job)
{
    uint64_t per_epoch = plan_steps_per_epoch(&job->core.plan);
    return (job->core.plan.train_steps + per_epoch - 1) / per_epoch;
}

static void copy_data(struct job_data *data, const Dp__Dataset *from)
{
    text_clean(data->name, sizeof data->name, from->name); /* cut at a character: it is shown as JSON */
    data->rows = from->rows;
    data->features = from->features;
    data->fingerprint = from->fingerprint;
    data->zero_loss = from->zero_loss;
    data->majority = from->majority;
    (void)str_copy(data->scales, sizeof data->scales, from->scales);
}

/* Workers with data of their own: a step is one minibatch of each, of as many rows as it brings, and the plan's rows
 * are ranks. An epoch is what is reported at a time. */
static dp_err settle_local(struct job *job, const Dp__Join *join, dp_error *err)
{
    const struct server_options *opts = job->opts;
    uint64_t steps = opts->steps ? opts->steps : LOCAL_STEPS_MAX;
    for (size_t i = 0; i < join->n_tensors; i++)
        if (join->tensors[i]->kind != DP__TENSOR__KIND__DENSE)
            return dp_fail(err, DP_REFUSED, "tensor '%s' is a table, which a job of --data-mode local cannot have",
                           join->tensors[i]->name);
    job->features = opts->features;
    job->classes = join->classes;
    job->train = job->eval = (struct job_data){0};
    (void)str_copy(job->train.name, sizeof job->train.name, "the workers' own");
    job->core.local = true;
    job->core.plan = (struct plan){
        .seed = opts->seed,
        .train_rows = opts->slots * MIN(steps, (uint64_t)LOCAL_REPORT_STEPS),
        .batch = opts->slots,
        .train_steps = steps,
        .slots = (uint32_t)opts->slots,
    };
    job->train.rows = job->core.plan.train_rows;
    return plan_check(&job->core.plan, err);
}

/* No tables: their rows commit without the head's word. */
static dp_err settle_drop(struct job *job, const Dp__Join *join, dp_error *err)
{
    job->core.droppable = job_droppable(job->opts);
    job->core.slowest = (uint32_t)job->opts->drop_slowest;
    for (size_t i = 0; job->core.droppable && i < join->n_tensors; i++)
        if (join->tensors[i]->kind != DP__TENSOR__KIND__DENSE)
            return dp_fail(err, DP_REFUSED, "tensor '%s' is a table, of which no slots can be dropped",
                           join->tensors[i]->name);
    return DP_OK;
}

static dp_err settle_plan(struct job *job, const Dp__Join *join, dp_error *err)
{
    const struct server_options *opts = job->opts;
    if (opts->local)
        return settle_local(job, join, err);
    if (settle_drop(job, join, err))
        return err->code;
    if (!join->train)
        return dp_fail(err, DP_REFUSED, "the worker brings no training data");
    if (opts->data.eval && !join->eval)
        return dp_fail(err, DP_REFUSED, "this job evaluates: start the worker with --eval FILE");
    copy_data(&job->train, join->train);
    job->eval = (struct job_data){0};
    if (join->eval)
        copy_data(&job->eval, join->eval);
    job->features = opts->features ? opts->features : join->train->features;
    job->classes = join->classes;
    job->batch_cut = opts->batch > job->train.rows;
    struct plan plan = {
        .seed = opts->seed,
        .train_rows = job->train.rows,
        .eval_rows = job->eval.rows,
        .batch = MIN(opts->batch, job->train.rows),
        .block_rows = opts->by_blocks ? opts->block_rows : 0,
        .window_blocks = opts->by_blocks ? (uint32_t)opts->window_blocks : 0,
        .train_steps = opts->steps,
        .slots = (uint32_t)opts->slots,
    };
    if (plan.train_rows == 0)
        return dp_fail(err, DP_REFUSED, "the worker's data have no rows");
    if (plan.train_steps == 0 && __builtin_mul_overflow(opts->epochs, plan_steps_per_epoch(&plan), &plan.train_steps))
        return dp_fail(err, DP_USAGE, "option --epochs: %" PRIu64 " epochs are more steps than can be counted",
                       opts->epochs);
    job->core.plan = plan;
    return plan_check(&plan, err);
}

/* Settings that dp-ctl made before the job was settled anew, from the same steps on. */
static dp_err settle_settings(struct job *job, dp_error *err)
{
    struct schedule *schedule = &job->core.params.schedule;
    schedule->change_count = job->set_schedule.change_count;
    memcpy(schedule->changes, job->set_schedule.changes, sizeof schedule->changes);
    if (job_has_tables(job))
        schedule->past = &job->past_rates;
    if (job->set_consistency.change_count > 0)
        job->core.consistency = job->set_consistency;
    schedule->periods = job->set_schedule.periods;
    if (schedule_is_periodic(schedule) && !schedule_extend(schedule, job->begin ? job->begin->train_step : 0))
        return dp_fail(err, DP_USAGE, "the end of the schedule was changed %d times: leave --lr-period as it was",
                       SCHEDULE_PERIODS_MAX - 1);
    return DP_OK;
}

static dp_err settle_tensors(struct job *job, const Dp__Join *join, dp_error *err)
{
    struct tensors *tensors = &job->core.tensors;
    *tensors = (struct tensors){0};
    if (join->n_tensors == 0)
        return dp_fail(err, DP_REFUSED, "the worker's model has no tensors");
    for (size_t i = 0; i < join->n_tensors; i++) {
        const Dp__Tensor *t = join->tensors[i];
        dp_err e = job_add_tensor(tensors, t, err);
        if (e)
            return e;
    }
    (void)consistency_set(&job->core.consistency, 0, job->opts->staleness); /* the first change always fits */
    dp_err e = update_settle(&job->opts->setup, &job->core, err);
    if (!e)
        e = settle_settings(job, err);
    return e ? e : rowrule_check(&job->core, err);
}

/* The least memory that parameters need: two versions, the rule's state, and one gradient that has arrived. A job that
 * cannot be held is refused here, with the worker that declared it, before a shard runs out of memory in the midst of
 * it. Bytes of more than 2^64 cannot be: tensors_add bounds the elements. */
static dp_err check_memory(const struct job *job, dp_error *err)
{
    uint64_t elems = tensors_total(&job->core.tensors), limit = mem_limit_bytes();
    uint64_t copies = 3 + job->core.rule->state_count, bytes = elems * copies * sizeof(float);
    dp_error room;
    if (bytes <= limit && mem_check_room("the server, for the parameters", bytes, &room))
        return dp_fail(err, DP_REFUSED, "%s", room.text);
    if (bytes <= limit)
        return DP_OK;
    return dp_fail(err, DP_REFUSED,
                   "%" PRIu64 " parameters need %" PRIu64 " MiB (%" PRIu64 " times 4 bytes each under --optimizer %s), "
                   "and the server's machine has %" PRIu64
                   " MiB (or its control group or ulimit -v allows no more): make the model smaller (--sparse keeps "
                   "only rows that data touch) or take a larger machine",
                   elems, bytes >> 20, copies, job->core.rule->name, limit >> 20);
}

static dp_err wire_tensors(struct job *job)
{
    const struct tensors *tensors = &job->core.tensors;
    job->wire->tensors = mem_array_zero(tensors->count, sizeof(Dp__Tensor *));
    if (!job->wire->tensors)
        return DP_NOMEM;
    for (uint32_t i = 0; i < tensors->count; i++) {
        Dp__Tensor *t = job->wire->tensors[i] = mem_array(1, sizeof *t);
        if (!t)
            return DP_NOMEM;
        dp__tensor__init(t);
        t->name = (char *)tensors->list[i].name;
        t->n_shape = tensors->list[i].rank;
        t->shape = (uint64_t *)tensors->list[i].shape;
        t->init = (uint32_t)tensors->list[i].init;
        t->init_arg = tensors->list[i].init_arg;
        t->regularized = tensors->list[i].regularized;
        t->kind = (Dp__Tensor__Kind)tensors->list[i].kind;
        job->wire->n_tensors = i + 1;
    }
    return DP_OK;
}

static dp_err wire_shards(struct job *job, const char *const *endpoints)
{
    job->wire->shards = mem_array_zero(job->shard_count, sizeof(Dp__Shard *));
    if (!job->wire->shards)
        return DP_NOMEM;
    for (uint32_t i = 0; i < job->shard_count; i++) {
        Dp__Shard *s = job->wire->shards[i] = mem_array(1, sizeof *s);
        if (!s)
            return DP_NOMEM;
        dp__shard__init(s);
        s->endpoint = (char *)endpoints[i];
        s->first = job->shards[i].range.first;
        s->n_slices = job->shards[i].slice_count;
        s->slices = job->shards[i].slice_elems;
        job->wire->n_shards = i + 1;
        if (job_wire_parts(&job->shards[i], s))
            return DP_NOMEM;
    }
    return DP_OK;
}

static dp_err settle_wire(struct job *job, const Dp__Join *join, const char *const *endpoints, dp_error *err)
{
    if (wire_tensors(job) || wire_shards(job, endpoints))
        return dp_fail(err, DP_NOMEM, "out of memory for the job");
    if (job_settle_labels(job, join, err))
        return err->code;
    job->wire->features = job->features;
    job->wire->classes = job->classes;
    job->wire->batch = job->core.plan.batch;
    job->wire->train_steps = job->core.plan.train_steps;
    job->wire->train_rows = job->train.rows;
    job->wire->eval_rows = job->eval.rows;
    job->wire->evaluate = job->eval.rows > 0;
    return DP_OK;
}

/* The step at which a job goes on. A plan with other training steps than the checkpoint's has its evaluations
 * elsewhere: that of its own end, if it is there, is still to be made. */
static uint64_t step_of(const struct plan *plan, const struct manifest *from)
{
    if (from->train_steps == plan->train_steps)
        return MIN(from->step, plan_total(plan));
    uint64_t step = plan_step_of(plan, from->train_step);
    return step == plan_total(plan) && plan->eval_rows > 0 ? step - 1 : step;
}

/* The first step, which is said here alone: windows, gates and counters take it from the job. */
static dp_err settle_begin(struct job *job, dp_error *err)
{
    const struct plan *plan = &job->core.plan;
    const struct manifest *from = job->begin;
    job->core.first_step = 0;
    if (!from)
        return DP_OK;
    if (from->train_step > plan->train_steps)
        return dp_fail(err, DP_USAGE,
                       "option --%s: the checkpoint has %" PRIu64
                       " training steps, and the job would end after %" PRIu64
                       ": give more, another --checkpoint-dir, or --resume never",
                       job->opts->steps ? "steps" : "epochs", from->train_step, plan->train_steps);
    job->core.first_step = step_of(plan, from);
    if (plan_trained(plan, job->core.first_step) == from->train_step)
        return DP_OK;
    return dp_fail(err, DP_DATA, "the checkpoint of training step %" PRIu64 " is of another plan of steps",
                   from->train_step);
}

dp_err job_settle(struct job *job, const Dp__Join *join, uint32_t shards, const char *const *endpoints, dp_error *err)
{
    assert(!job->settled);
    dp_err e = settle_plan(job, join, err);
    if (!e)
        e = settle_begin(job, err);
    if (!e)
        e = settle_tensors(job, join, err);
    if (!e)
        e = check_memory(job, err);
    if (!e)
        e = job_settle_schema(job, join, err);
    if (!e)
        e = job_settle_layout(job, shards, err);
    if (!e)
        e = settle_wire(job, join, endpoints, err);
    if (e)
        unsettle(job);
    job->settled = !e;
    memcpy(job->settled_numerics, job->numerics, sizeof job->settled_numerics);
    return e;
}

static dp_err check_data(const struct job_data *job, const Dp__Dataset *data, const char *what, const char *option,
                         dp_error *err)
{
    if (!data && job->rows == 0)
        return DP_OK;
    if (!data)
        return dp_fail(err, DP_REFUSED, "this job evaluates on %s: start the worker with %s FILE", job->name, option);
    if (job->rows == 0)
        return dp_fail(err, DP_REFUSED, "this job does not evaluate, as its first worker had no %s: leave %s away",
                       option, option);
    if (data->rows != job->rows || data->fingerprint != job->fingerprint)
        return dp_fail(err, DP_REFUSED,
                       "the worker's %s data (%s: %" PRIu64 " rows, %" PRIu64 " features, content %016" PRIx64
                       ") are not the job's (%s: %" PRIu64 " rows, %" PRIu64 " features, content %016" PRIx64
                       "): give every worker the same file",
                       what, data->name, data->rows, data->features, data->fingerprint, job->name, job->rows,
                       job->features, job->fingerprint);
    return DP_OK;
}

static bool same_tensor(const struct tensor *ours, const Dp__Tensor *theirs)
{
    if (strcmp(ours->name, theirs->name) != 0 || ours->rank != theirs->n_shape ||
        (uint32_t)ours->init != theirs->init || ours->regularized != (bool)theirs->regularized ||
        (int)ours->kind != (int)theirs->kind)
        return false;
    return memcmp(ours->shape, theirs->shape, ours->rank * sizeof *ours->shape) == 0 &&
           memcmp(&ours->init_arg, &theirs->init_arg, sizeof ours->init_arg) == 0;
}

static dp_err check_tensors(const struct job *job, const Dp__Join *join, dp_error *err)
{
    const struct tensors *tensors = &job->core.tensors;
    if (join->n_tensors != tensors->count)
        return dp_fail(err, DP_REFUSED, "the worker's model has %zu tensors, the job's has %u", join->n_tensors,
                       tensors->count);
    for (uint32_t i = 0; i < tensors->count; i++)
        if (!same_tensor(&tensors->list[i], join->tensors[i]))
            return dp_fail(err, DP_REFUSED, "the worker's tensor '%s' is not the job's '%s', or has another shape",
                           join->tensors[i]->name, tensors->list[i].name);
    return job_check_labels(job, join, err);
}

/* For who has not proved anything: which kind of thing differs, and what to do about it. */
static const char OTHER_COLUMNS[] =
    "the columns of the worker's data are not the job's" JOB_ASK_LOG ": give every worker a file with the same columns";
static const char OTHER_TRAIN[] =
    "the worker's training data are not the job's" JOB_ASK_LOG ": give every worker the same file (--data)";
static const char OTHER_EVAL[] = "the worker's evaluation data are not the job's" JOB_ASK_LOG
                                 ": give every worker the same file (--eval), or none where the job has none";
static const char OTHER_MODEL[] = "the worker's model or its labels are not the job's" JOB_ASK_LOG
                                  ": start every worker with the same model and labels, and of the same version of dp";

dp_err job_check(const struct job *job, const Dp__Join *join, const char **ret_brief, dp_error *err)
{
    *ret_brief = OTHER_COLUMNS;
    dp_err e = job_check_schema(job, join, err);
    bool local = job->core.local;
    if (!e && !local) {
        *ret_brief = OTHER_TRAIN;
        e = join->train ? check_data(&job->train, join->train, "training", "--data", err)
                        : dp_fail(err, DP_REFUSED, "the worker brings no training data");
    }
    if (!e && !local) {
        *ret_brief = OTHER_EVAL;
        e = check_data(&job->eval, join->eval, "evaluation", "--eval", err);
    }
    if (!e) {
        *ret_brief = OTHER_MODEL;
        e = check_tensors(job, join, err);
    }
    return e;
}
