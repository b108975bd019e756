/* COMMAND_START as a message; see start_write.h. Thread: any. */
#include "server/link/wire/start_write.h"

#include <stdlib.h>

#include "common/base/mem.h"

struct wire_start {
    Dp__Link__Start body;
    Dp__Link__Plan plan;
    Dp__Link__Tensor tensors[TENSOR_COUNT_MAX], *tensor_list[TENSOR_COUNT_MAX];
    Dp__Link__Regular regular[TENSOR_COUNT_MAX], *regular_list[TENSOR_COUNT_MAX];
    Dp__Link__Hyper hyper;
    Dp__Link__Schedule schedule;
    uint64_t change_from[SCHEDULE_CHANGES_MAX];
    double change_lr[SCHEDULE_CHANGES_MAX];
    uint64_t period_from[SCHEDULE_PERIODS_MAX], periods[SCHEDULE_PERIODS_MAX];
    uint64_t *past_from;
    double *past_lr;
    Dp__Link__Constraints constraints;
    Dp__Link__Constraint constraint[CONSTRAINTS_MAX], *constraint_list[CONSTRAINTS_MAX];
    Dp__Link__Row rows[CONSTRAINT_ROWS_MAX], *row_list[CONSTRAINT_ROWS_MAX];
    uint64_t staleness_from[CONSISTENCY_CHANGES_MAX];
    uint32_t staleness[CONSISTENCY_CHANGES_MAX];
    uint64_t *numbers; /* of slices and parts */
    uint32_t *part_tensor;
};

static void write_plan(struct wire_start *wire, const struct plan *plan)
{
    wire->plan = (Dp__Link__Plan)DP__LINK__PLAN__INIT;
    wire->plan.seed = plan->seed;
    wire->plan.train_rows = plan->train_rows;
    wire->plan.eval_rows = plan->eval_rows;
    wire->plan.batch = plan->batch;
    wire->plan.train_steps = plan->train_steps;
    wire->plan.slots = plan->slots;
    wire->plan.block_rows = plan->block_rows;
    wire->plan.window_blocks = plan->window_blocks;
    wire->body.plan = &wire->plan;
}

static void write_tensors(struct wire_start *wire, const struct shard_job *job)
{
    for (uint32_t t = 0; t < job->tensors.count; t++) {
        const struct tensor *tensor = &job->tensors.list[t];
        Dp__Link__Tensor *to = wire->tensor_list[t] = &wire->tensors[t];
        *to = (Dp__Link__Tensor)DP__LINK__TENSOR__INIT;
        to->name = (char *)tensor->name;
        to->kind = (uint32_t)tensor->kind;
        to->n_shape = tensor->rank;
        to->shape = (uint64_t *)tensor->shape;
        to->init = (uint32_t)tensor->init;
        to->init_arg = tensor->init_arg;
        to->regularized = tensor->regularized;
        to->unit = tensor->unit;
        Dp__Link__Regular *regular = wire->regular_list[t] = &wire->regular[t];
        *regular = (Dp__Link__Regular)DP__LINK__REGULAR__INIT;
        regular->l1 = job->regular[t].l1;
        regular->l2 = job->regular[t].l2;
        regular->group = job->regular[t].group;
        regular->group_size = job->regular[t].group_size;
    }
    wire->body.n_tensors = wire->body.n_regular = job->tensors.count;
    wire->body.tensors = wire->tensor_list;
    wire->body.regular = wire->regular_list;
}

static void write_schedule(struct wire_start *wire, const struct schedule *schedule)
{
    Dp__Link__Schedule *to = &wire->schedule;
    *to = (Dp__Link__Schedule)DP__LINK__SCHEDULE__INIT;
    to->kind = (uint32_t)schedule->kind;
    to->lr = schedule->lr;
    to->lr_min = schedule->lr_min;
    to->gamma = schedule->gamma;
    to->decay = schedule->decay;
    to->peak = schedule->peak;
    to->div = schedule->div;
    to->final_div = schedule->final_div;
    to->every = schedule->every;
    to->period = schedule->period;
    to->period_mult = schedule->period_mult;
    to->warmup = schedule->warmup;
    for (uint32_t i = 0; i < schedule->change_count; i++) {
        wire->change_from[i] = schedule->changes[i].from;
        wire->change_lr[i] = schedule->changes[i].lr;
    }
    to->n_change_from = to->n_change_lr = schedule->change_count;
    to->change_from = wire->change_from;
    to->change_lr = wire->change_lr;
    for (uint32_t i = 0; i < schedule->periods.count; i++) {
        wire->period_from[i] = schedule->periods.list[i].from;
        wire->periods[i] = schedule->periods.list[i].period;
    }
    to->n_period_from = to->n_periods = schedule->periods.count;
    to->period_from = wire->period_from;
    to->periods = wire->periods;
}

static dp_err write_past(struct wire_start *wire, const struct schedule_past *past)
{
    wire->past_from = mem_array(past->count + 1, sizeof *wire->past_from);
    wire->past_lr = mem_array(past->count + 1, sizeof *wire->past_lr);
    if (!wire->past_from || !wire->past_lr)
        return DP_NOMEM;
    for (size_t i = 0; i < past->count; i++) {
        wire->past_from[i] = past->list[i].from;
        wire->past_lr[i] = past->list[i].lr;
    }
    wire->schedule.n_past_from = wire->schedule.n_past_lr = past->count;
    wire->schedule.past_from = wire->past_from;
    wire->schedule.past_lr = wire->past_lr;
    return DP_OK;
}

static void write_hyper(struct wire_start *wire, const struct update_params *params)
{
    Dp__Link__Hyper *to = &wire->hyper;
    *to = (Dp__Link__Hyper)DP__LINK__HYPER__INIT;
    write_schedule(wire, &params->schedule);
    to->schedule = &wire->schedule;
    to->momentum = params->momentum;
    to->beta1 = params->beta1;
    to->beta2 = params->beta2;
    to->alpha = params->alpha;
    to->eps = params->eps;
    to->ftrl_beta = params->ftrl_beta;
    to->trust = params->trust;
    to->decay = (uint32_t)params->decay;
    to->clip_value = params->clip_value;
    to->clip_norm = params->clip_norm;
    to->compensation = params->compensation;
    wire->body.hyper = to;
}

/* Rows of all constraints lie one behind the other. Returns how many there are now. */
static uint32_t write_rows(struct wire_start *wire, const struct linear *linear, uint32_t used)
{
    for (uint32_t r = 0; r < linear->count; r++, used++) {
        Dp__Link__Row *to = wire->row_list[used] = &wire->rows[used];
        *to = (Dp__Link__Row)DP__LINK__ROW__INIT;
        to->equality = linear->rows[r].equality;
        to->bound = linear->rows[r].bound;
        to->squares = linear->rows[r].squares;
        to->count = linear->rows[r].count;
    }
    return used;
}

static void write_constraints(struct wire_start *wire, const struct constraints *constraints)
{
    Dp__Link__Constraints *to = &wire->constraints;
    uint32_t used = 0;
    *to = (Dp__Link__Constraints)DP__LINK__CONSTRAINTS__INIT;
    to->method = (uint32_t)constraints->method;
    to->beta = constraints->beta;
    to->rho_max = constraints->rho_max;
    to->tolerance = constraints->tolerance;
    to->every = constraints->every;
    for (uint32_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        Dp__Link__Constraint *one = wire->constraint_list[i] = &wire->constraint[i];
        *one = (Dp__Link__Constraint)DP__LINK__CONSTRAINT__INIT;
        one->kind = (uint32_t)c->kind;
        one->lo = c->lo;
        one->hi = c->hi;
        one->arg = c->arg;
        one->tensor = (char *)c->tensor;
        one->mask = c->mask;
        one->offset = c->offset;
        one->elems = c->elems;
        one->n_rows = c->linear.count;
        one->rows = &wire->row_list[used];
        used = write_rows(wire, &c->linear, used);
    }
    to->n_list = constraints->count;
    to->list = wire->constraint_list;
    wire->body.constraints = to;
}

static void write_consistency(struct wire_start *wire, const struct consistency *consistency)
{
    for (uint32_t i = 0; i < consistency->change_count; i++) {
        wire->staleness_from[i] = consistency->changes[i].from;
        wire->staleness[i] = consistency->changes[i].staleness;
    }
    wire->body.n_staleness_from = wire->body.n_staleness = consistency->change_count;
    wire->body.staleness_from = wire->staleness_from;
    wire->body.staleness = wire->staleness;
}

static void write_layout(struct wire_start *wire, const struct command_start *start)
{
    Dp__Link__Start *to = &wire->body;
    const uint32_t slices = start->slice_count, parts = start->part_count;
    to->first_slice = start->first_slice;
    to->first_part = start->first_part;
    to->n_slice_first = to->n_slice_elems = slices;
    to->slice_first = wire->numbers;
    to->slice_elems = to->slice_first + slices;
    to->n_part_tensor = to->n_part_first = to->n_part_last = parts;
    to->part_first = to->slice_elems + slices;
    to->part_last = to->part_first + parts;
    to->part_tensor = wire->part_tensor;
    for (uint32_t i = 0; i < slices; i++) {
        to->slice_first[i] = start->slices[i].first;
        to->slice_elems[i] = start->slices[i].count;
    }
    for (uint32_t i = 0; i < parts; i++) {
        to->part_tensor[i] = start->parts[i].tensor;
        to->part_first[i] = start->parts[i].first;
        to->part_last[i] = start->parts[i].last;
    }
}

struct wire_start *wire_start_new(const struct command_start *start)
{
    const struct shard_job *job = &start->job;
    struct wire_start *wire = mem_array_zero(1, sizeof *wire);
    if (!wire)
        return NULL;
    wire->numbers = mem_array(2 * ((size_t)start->slice_count + start->part_count) + 1, sizeof *wire->numbers);
    wire->part_tensor = mem_array((size_t)start->part_count + 1, sizeof *wire->part_tensor);
    if (!wire->numbers || !wire->part_tensor) {
        wire_start_free(&wire);
        return NULL;
    }
    wire->body = (Dp__Link__Start)DP__LINK__START__INIT;
    wire->body.incarnation = start->incarnation;
    wire->body.shm = (uint32_t)start->shm;
    wire->body.local = job->local;
    wire->body.droppable = job->droppable;
    wire->body.slowest = job->slowest;
    wire->body.rule = (char *)job->rule->name;
    wire->body.past = job->past;
    wire->body.first_step = job->first_step;
    wire->body.checkpoint = start->checkpoint;
    wire->body.init_from = start->init_from ? start->init_from : (char *)"";
    write_plan(wire, &job->plan);
    write_tensors(wire, job);
    write_hyper(wire, &job->params);
    if (write_past(wire, &start->rates)) {
        wire_start_free(&wire);
        return NULL;
    }
    write_constraints(wire, &job->constraints);
    write_consistency(wire, &job->consistency);
    write_layout(wire, start);
    return wire;
}

Dp__Link__Start *wire_start_body(struct wire_start *wire)
{
    return &wire->body;
}

void wire_start_free(struct wire_start **wire)
{
    if (*wire) {
        free((*wire)->numbers);
        free((*wire)->part_tensor);
        free((*wire)->past_from);
        free((*wire)->past_lr);
    }
    free(*wire);
    *wire = NULL;
}

dp_err wire_start_parts(const struct command_start *start, struct wire_message *message)
{
    const struct constraints *constraints = &start->job.constraints;
    for (uint32_t i = 0; i < constraints->count; i++)
        for (uint32_t r = 0; r < constraints->list[i].linear.count; r++) {
            const struct linear_row *row = &constraints->list[i].linear.rows[r];
            if (wire_add_part(message, row->index, row->count * sizeof *row->index) ||
                wire_add_part(message, row->value, row->count * sizeof *row->value))
                return DP_NOMEM;
        }
    return DP_OK;
}
