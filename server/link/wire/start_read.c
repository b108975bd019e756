/* A message as COMMAND_START; see start_read.h.
 *
 * Invariant: a job that was read is one that the head could have made: the shard that starts from it meets no count, no
 * kind and no range that it does not know. Thread: any. */
#include "server/link/wire/start_read.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/terms/constraint_text.h"
#include "server/link/wire/terms.h"

enum { SLICE_ELEMS_MAX = (2 << 20) / sizeof(float) };

static dp_err read_plan(const Dp__Link__Plan *body, struct plan *plan, dp_error *err)
{
    dp_error why;
    if (!body)
        return dp_fail(err, DP_PROTO, "a job without a plan");
    plan->seed = body->seed;
    plan->train_rows = body->train_rows;
    plan->eval_rows = body->eval_rows;
    plan->batch = body->batch;
    plan->train_steps = body->train_steps;
    plan->slots = body->slots;
    plan->block_rows = body->block_rows;
    plan->window_blocks = body->window_blocks;
    if (plan_check(plan, &why) || plan->slots > STEPS_SLOTS_MAX)
        return dp_fail(err, DP_PROTO, "a plan that is none: %.400s",
                       plan->slots > STEPS_SLOTS_MAX ? "too many slots" : why.text);
    return DP_OK;
}

static dp_err read_tensor(const Dp__Link__Tensor *body, struct tensors *tensors, dp_error *err)
{
    const enum tensor_init init = (enum tensor_init)body->init;
    const uint32_t rank = (uint32_t)body->n_shape;
    dp_error why = {0};
    dp_err e = DP_RANGE;
    if (body->n_shape <= TENSOR_RANK_MAX && body->init <= INIT_HE_UNIFORM && body->kind <= TENSOR_HASHED)
        e = body->kind == TENSOR_DENSE
                ? tensors_add(tensors, body->name, rank, body->shape, init, body->init_arg, body->regularized, &why)
                : tensors_add_table(tensors, body->name, (enum tensor_kind)body->kind, rank, body->shape, init,
                                    body->init_arg, body->regularized, &why);
    if (e)
        return dp_fail(err, DP_PROTO, "a tensor that is none: %.400s", why.text);
    struct tensor *tensor = &tensors->list[tensors->count - 1];
    if (body->unit == 0 || (tensor->elems > 0 && (body->unit > tensor->elems || tensor->elems % body->unit != 0)))
        return dp_fail(err, DP_PROTO, "tensor %s: units of %llu elements do not divide it", tensor->name,
                       (unsigned long long)body->unit);
    tensor->unit = body->unit;
    return DP_OK;
}

static dp_err read_tensors(const Dp__Link__Start *body, struct shard_job *job, dp_error *err)
{
    if (body->n_tensors == 0 || body->n_tensors > TENSOR_COUNT_MAX || body->n_regular != body->n_tensors)
        return dp_fail(err, DP_PROTO, "%zu tensors with %zu regularizers; 1 to %d, and as many", body->n_tensors,
                       body->n_regular, TENSOR_COUNT_MAX);
    for (size_t t = 0; t < body->n_tensors; t++) {
        const Dp__Link__Regular *regular = body->regular[t];
        dp_err e = read_tensor(body->tensors[t], &job->tensors, err);
        if (e)
            return e;
        job->regular[t] = (struct regular){regular->l1, regular->l2, regular->group, regular->group_size};
        uint64_t elems =
            job->tensors.list[t].kind == TENSOR_DENSE ? job->tensors.list[t].elems : job->tensors.list[t].dim;
        if (!isfinite(regular->l1 + regular->l2 + regular->group) || regular->l1 < 0 || regular->l2 < 0 ||
            regular->group < 0)
            return dp_fail(err, DP_PROTO, "tensor %s: a strength that is negative or not finite",
                           job->tensors.list[t].name);
        if (regular->group_size > elems || (regular->group > 0 && regular->group_size == 0))
            return dp_fail(err, DP_PROTO, "tensor %s: groups of %llu elements", job->tensors.list[t].name,
                           (unsigned long long)regular->group_size);
    }
    return DP_OK;
}

static dp_err read_rule(const char *name, struct shard_job *job, dp_error *err)
{
    for (int i = 0; i < UPDATE_RULES; i++)
        if (strcmp(update_rule_at(i)->name, name) == 0)
            job->rule = update_rule_at(i);
    return job->rule ? DP_OK : dp_fail(err, DP_PROTO, "no update rule is called '%.64s'", name);
}

static bool finite_all(const double *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(numbers[i]))
            return false;
    return true;
}

/* Whether numbers ascend, each larger than the one before it. */
static bool ascend(const uint64_t *numbers, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (numbers[i] <= numbers[i - 1])
            return false;
    return true;
}

static dp_err read_periods(const Dp__Link__Schedule *body, struct schedule_periods *periods, dp_error *err)
{
    const size_t n = body->n_periods;
    bool good = n <= SCHEDULE_PERIODS_MAX && n == body->n_period_from && ascend(body->period_from, n);
    good = good && (n == 0 || (body->period_from[0] == 0 && body->periods[n - 1] == body->period));
    for (size_t i = 0; good && i < n; i++) {
        good = body->periods[i] > 0;
        periods->list[i] = (struct schedule_period){body->period_from[i], body->periods[i]};
    }
    if (!good)
        return dp_fail(err, DP_PROTO, "%zu periods of a schedule for %zu ascending steps from 0; at most %d", n,
                       body->n_period_from, SCHEDULE_PERIODS_MAX);
    periods->count = (uint32_t)n;
    return DP_OK;
}

static dp_err read_schedule(const Dp__Link__Schedule *body, struct schedule *schedule, dp_error *err)
{
    if (body->kind > SCHEDULE_ADA_DELAY || body->period == 0 || body->period_mult == 0 ||
        (body->kind == SCHEDULE_STEP && body->every == 0))
        return dp_fail(err, DP_PROTO, "a schedule of kind %u, or one with a period of 0", body->kind);
    const double numbers[] = {body->lr, body->lr_min, body->gamma, body->decay, body->peak, body->div, body->final_div};
    if (!finite_all(numbers, ARRAY_LEN(numbers)) || !finite_all(body->change_lr, body->n_change_lr))
        return dp_fail(err, DP_PROTO, "a schedule with a number that is not finite");
    if (body->n_change_from > SCHEDULE_CHANGES_MAX || body->n_change_from != body->n_change_lr ||
        !ascend(body->change_from, body->n_change_from))
        return dp_fail(err, DP_PROTO, "%zu rates for %zu ascending steps; at most %d", body->n_change_lr,
                       body->n_change_from, SCHEDULE_CHANGES_MAX);
    schedule->kind = (enum schedule_kind)body->kind;
    schedule->lr = body->lr;
    schedule->lr_min = body->lr_min;
    schedule->gamma = body->gamma;
    schedule->decay = body->decay;
    schedule->peak = body->peak;
    schedule->div = body->div;
    schedule->final_div = body->final_div;
    schedule->every = body->every;
    schedule->period = body->period;
    schedule->period_mult = body->period_mult;
    schedule->warmup = body->warmup;
    schedule->change_count = (uint32_t)body->n_change_from;
    for (uint32_t i = 0; i < schedule->change_count; i++)
        schedule->changes[i] = (struct schedule_change){body->change_from[i], body->change_lr[i]};
    return read_periods(body, &schedule->periods, err);
}

static dp_err read_hyper(const Dp__Link__Hyper *body, struct update_params *params, dp_error *err)
{
    if (!body || !body->schedule || body->decay > DECAY_DECOUPLED)
        return dp_fail(err, DP_PROTO, "a job without hyper-parameters, or with a kind of decay that there is not");
    const double numbers[] = {body->momentum,  body->beta1, body->beta2,      body->alpha,     body->eps,
                              body->ftrl_beta, body->trust, body->clip_value, body->clip_norm, body->compensation};
    if (!finite_all(numbers, ARRAY_LEN(numbers)))
        return dp_fail(err, DP_PROTO, "a hyper-parameter that is not finite");
    params->momentum = body->momentum;
    params->beta1 = body->beta1;
    params->beta2 = body->beta2;
    params->alpha = body->alpha;
    params->eps = body->eps;
    params->ftrl_beta = body->ftrl_beta;
    params->trust = body->trust;
    params->decay = (enum decay_kind)body->decay;
    params->clip_value = body->clip_value;
    params->clip_norm = body->clip_norm;
    params->compensation = body->compensation;
    return read_schedule(body->schedule, &params->schedule, err);
}

static dp_err read_consistency(const Dp__Link__Start *body, struct consistency *consistency, dp_error *err)
{
    if (body->n_staleness > CONSISTENCY_CHANGES_MAX || body->n_staleness != body->n_staleness_from ||
        !ascend(body->staleness_from, body->n_staleness_from))
        return dp_fail(err, DP_PROTO, "%zu windows for %zu ascending steps; at most %d", body->n_staleness,
                       body->n_staleness_from, CONSISTENCY_CHANGES_MAX);
    for (size_t i = 0; i < body->n_staleness; i++) {
        if (body->staleness[i] > CONSISTENCY_STALENESS_MAX)
            return dp_fail(err, DP_PROTO, "a window of %u steps; at most %d", body->staleness[i],
                           CONSISTENCY_STALENESS_MAX);
        consistency->changes[i] = (struct consistency_change){body->staleness_from[i], body->staleness[i]};
    }
    consistency->change_count = (uint32_t)body->n_staleness;
    return DP_OK;
}

/* Slices lie in theta, one behind the other. */
static dp_err read_slices(const Dp__Link__Start *body, struct command_start *start, dp_error *err)
{
    uint64_t total = tensors_total(&start->job.tensors);
    for (uint32_t i = 0; i < start->slice_count; i++) {
        const struct range slice = {body->slice_first[i], body->slice_elems[i]};
        if (slice.count == 0 || slice.count > SLICE_ELEMS_MAX || slice.first > total ||
            slice.count > total - slice.first ||
            (i > 0 && slice.first != start->slices[i - 1].first + start->slices[i - 1].count))
            return dp_fail(err, DP_PROTO, "slice %u is not in theta behind the one before it", i);
        start->slices[i] = slice;
    }
    return DP_OK;
}

static dp_err read_parts(const Dp__Link__Start *body, struct command_start *start, dp_error *err)
{
    const struct tensors *tensors = &start->job.tensors;
    for (uint32_t i = 0; i < start->part_count; i++) {
        const struct part_range part = {body->part_tensor[i], body->part_first[i], body->part_last[i]};
        if (part.tensor >= tensors->count || tensors->list[part.tensor].kind == TENSOR_DENSE ||
            part.first > part.last || part.last > tensors->list[part.tensor].last_row)
            return dp_fail(err, DP_PROTO, "part %u is in no table", i);
        start->parts[i] = part;
    }
    return DP_OK;
}

static dp_err check_counts(const Dp__Link__Start *body, dp_error *err)
{
    if (body->n_slice_first != body->n_slice_elems || body->n_part_tensor != body->n_part_first ||
        body->n_part_tensor != body->n_part_last || body->n_slice_first > UINT32_MAX - body->first_slice ||
        body->n_part_tensor > UINT32_MAX - body->first_part)
        return dp_fail(err, DP_PROTO, "lists of slices or parts of different lengths");
    if (body->n_slice_first > 0 && body->n_part_tensor > 0 &&
        body->first_part < body->first_slice + body->n_slice_first)
        return dp_fail(err, DP_PROTO, "parts from id %u on, which do not follow the slices", body->first_part);
    if (body->shm > SHM_OFF)
        return dp_fail(err, DP_PROTO, "shared memory of kind %u", body->shm);
    return DP_OK;
}

static dp_err read_job(struct wire_reader *reader, const Dp__Link__Start *body, struct shard_job *job, dp_error *err)
{
    dp_err e = check_counts(body, err);
    if (e == DP_OK)
        e = read_plan(body->plan, &job->plan, err);
    if (e == DP_OK && body->first_step > plan_total(&job->plan))
        e = dp_fail(err, DP_PROTO, "a job that begins at step %llu and has %llu", (unsigned long long)body->first_step,
                    (unsigned long long)plan_total(&job->plan));
    if (e == DP_OK && body->checkpoint > 0 && body->checkpoint - 1 != plan_trained(&job->plan, body->first_step))
        e = dp_fail(err, DP_PROTO, "a job that begins at step %llu with the checkpoint of %llu training steps",
                    (unsigned long long)body->first_step, (unsigned long long)body->checkpoint - 1);
    if (e == DP_OK && body->init_from[0] && (body->first_step > 0 || body->checkpoint > 0))
        e = dp_fail(err, DP_PROTO, "a job that goes on at step %llu with values of another one",
                    (unsigned long long)body->first_step);
    if (e == DP_OK &&
        (strlen(body->init_from) >= PATH_MAX || !text_printable(body->init_from, strlen(body->init_from))))
        e = dp_fail(err, DP_PROTO, "a path of first values that is too long, or cannot be printed");
    if (e == DP_OK)
        e = read_tensors(body, job, err);
    if (e == DP_OK)
        e = read_rule(body->rule, job, err);
    if (e == DP_OK)
        e = read_hyper(body->hyper, &job->params, err);
    if (e == DP_OK)
        e = read_consistency(body, &job->consistency, err);
    if (e == DP_OK)
        e = wire_constraints_read(reader, body->constraints, &job->tensors, &job->constraints, err);
    job->local = body->local;
    job->droppable = body->droppable;
    job->slowest = body->slowest;
    job->past = body->past;
    job->first_step = body->first_step;
    return e;
}

/* A setting of the past is one before those that the schedule has. */
static dp_err read_past(const Dp__Link__Schedule *body, struct command_start *start, dp_error *err)
{
    const struct schedule *schedule = &start->job.params.schedule;
    size_t n = body->n_past_from;
    bool late = n > 0 && schedule->change_count > 0 && body->past_from[n - 1] >= schedule->changes[0].from;
    if (n > SCHEDULE_PAST_MAX || n != body->n_past_lr || !ascend(body->past_from, n) || late ||
        !finite_all(body->past_lr, n))
        return dp_fail(err, DP_PROTO, "%zu rates of the past for %zu ascending steps; at most %d", body->n_past_lr, n,
                       SCHEDULE_PAST_MAX);
    for (size_t i = 0; i < n; i++)
        if (!schedule_past_add(&start->rates, &(struct schedule_change){body->past_from[i], body->past_lr[i]}, 1))
            return dp_fail(err, DP_NOMEM, "out of memory for a job");
    start->job.params.schedule.past = n > 0 ? &start->rates : NULL;
    return DP_OK;
}

static dp_err read_layout(const Dp__Link__Start *body, struct command_start *start, dp_error *err)
{
    start->incarnation = body->incarnation;
    start->shm = (enum shm_mode)body->shm;
    start->first_slice = body->first_slice;
    start->first_part = body->first_part;
    start->checkpoint = body->checkpoint;
    if (body->init_from[0] && !(start->init_from = strdup(body->init_from)))
        return dp_fail(err, DP_NOMEM, "out of memory for a job");
    dp_err e = read_slices(body, start, err);
    if (!e)
        e = read_parts(body, start, err);
    return e ? e : read_past(body->hyper->schedule, start, err);
}

dp_err wire_start_read(struct wire_reader *reader, const Dp__Link__Start *body, struct command_start **ret_start,
                       dp_error *err)
{
    AUTOFREE struct shard_job *job = mem_array_zero(1, sizeof *job);
    if (!job)
        return dp_fail(err, DP_NOMEM, "out of memory for a job");
    dp_err e = read_job(reader, body, job, err);
    struct command_start *start =
        e ? NULL : command_start_new(job, (uint32_t)body->n_slice_first, (uint32_t)body->n_part_tensor);
    if (!start) {
        constraints_fini(&job->constraints);
        return e ? e : dp_fail(err, DP_NOMEM, "out of memory for a job");
    }
    start->owns_constraints = true;
    e = read_layout(body, start, err);
    if (e)
        command_start_free(&start);
    else
        *ret_start = start;
    return e;
}
