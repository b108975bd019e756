#include "tests/unit/support/cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kernels/kernels.h"
#include "tests/unit/support/hear.h"

static void on_params(void *arg, const struct params *params)
{
    (void)arg;
    (void)params;
}

static void on_rows(void *arg, const struct rows_params *rows)
{
    (void)arg;
    free(rows->values);
}

static void on_refuse(void *arg, const struct refusal *refusal)
{
    (void)arg;
    fprintf(stderr, "refused: %s\n", refusal->text);
    abort();
}

static void on_completed(void *arg, uint64_t step, const struct metrics *metrics)
{
    (void)metrics;
    ((struct cluster_end *)arg)->completed = step + 1;
}

static void on_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node)
{
    (void)arg, (void)session, (void)step, (void)node;
}

static void on_failed(void *arg, const dp_error *err)
{
    (void)arg;
    fprintf(stderr, "failed: %s\n", err->text);
    abort();
}

/* Kept for later, as a queue between threads would. */
static void on_sums(void *arg, uint64_t step, uint32_t phase, uint32_t values, double *sums)
{
    struct cluster_end *end = arg;
    struct cluster_message *m = malloc(sizeof *m);
    assert(m);
    *m = (struct cluster_message){NULL, end->number, step, phase, values, sums};
    *end->cluster->last = m;
    end->cluster->last = &m->next;
}

static void on_ready(void *arg, uint64_t ready, uint64_t roster)
{
    (void)roster;
    ((struct cluster_end *)arg)->ready = ready;
}

static void on_few(void *arg, uint64_t step)
{
    ((struct cluster_end *)arg)->few = step + 1;
}

static void on_event(void *arg, const struct event *event)
{
    hear_event(
        &(struct hearing){
            .completed = on_completed, .failed = on_failed, .sums = on_sums, .ready = on_ready, .few = on_few},
        arg, event);
}

void cluster_start(struct cluster *c, const struct shard_job *job, uint32_t shards, uint64_t slice_elems)
{
    dp_error err;
    struct range ranges[CLUSTER_SHARDS_MAX];
    memset(c, 0, sizeof *c);
    c->job = job;
    c->shard_count = shards;
    c->last = &c->first;
    layout_shards(&job->tensors, shards, ranges);
    if (exchange_init(&c->exchange, &job->tensors, shards, ranges))
        abort();
    for (uint32_t s = 0, first_slice = 0; s < shards; s++) {
        struct cluster_end *end = &c->ends[s];
        struct shard_calls calls = {.params = on_params,
                                    .rows = on_rows,
                                    .refuse = on_refuse,
                                    .arrived = on_arrived,
                                    .emit = on_event,
                                    .arg = end};
        *end = (struct cluster_end){.cluster = c, .number = s, .range = ranges[s]};
        size_t count = layout_slices(&job->tensors, ranges[s], slice_elems, end->slices, CLUSTER_SLICES_MAX);
        assert(count <= CLUSTER_SLICES_MAX);
        shard_init(&end->shard, s, &end->counters, &calls);
        if (count && shard_start(&end->shard, job, first_slice, end->slices, (uint32_t)count, &err))
            abort();
        first_slice += (uint32_t)count;
    }
}

void cluster_stop(struct cluster *c)
{
    for (uint32_t s = 0; s < c->shard_count; s++)
        shard_fini(&c->ends[s].shard);
    for (struct cluster_message *m = c->first, *next; m; m = next) {
        next = m->next;
        free(m->sums);
        free(m);
    }
    exchange_fini(&c->exchange);
    free(c->report);
    c->report = NULL;
}

static void deliver(struct cluster *c, const struct cluster_message *m)
{
    double *totals;
    if (exchange_add(&c->exchange, m->shard, m->step, m->phase, m->values, m->sums, &totals))
        abort();
    if (!totals)
        return;
    if (m->phase == EXCHANGE_REPORT) {
        free(c->report);
        c->report = totals;
        c->report_step = m->step;
        return;
    }
    c->exchanges++;
    for (uint32_t s = 0; s < c->shard_count; s++)
        shard_totals(&c->ends[s].shard, m->step, m->phase, totals);
    free(totals);
}

static void run(struct cluster *c)
{
    while (c->first) {
        struct cluster_message *m = c->first;
        c->first = m->next;
        if (!c->first)
            c->last = &c->first;
        deliver(c, m);
        free(m);
    }
}

static void push(struct cluster_end *end, uint32_t slice, uint64_t step, uint32_t slot, const float *gradient)
{
    const struct slice *s = &end->shard.slices[slice];
    struct plan_step at = plan_at(&s->job->plan, step);
    uint64_t first, count;
    plan_slot(&s->job->plan, &at, slot, &first, &count);
    float *copy = mem_array(s->range.count, sizeof *copy);
    assert(copy);
    memcpy(copy, gradient + s->range.first, s->range.count * sizeof *copy);
    struct blob blob = {copy, s->range.count * sizeof *copy, copy, free};
    struct push_pull msg = {.piece = slice, .push = true, .step = step, .node = steps_node(&s->window, 0, slot)};
    msg.metrics = (struct metrics){count, 0.5 * (double)count, 0};
    shard_push_pull(&end->shard, &msg, &blob);
}

void cluster_step_slots(struct cluster *c, uint64_t step, const float *slots, uint64_t seed)
{
    uint32_t count = c->job->plan.slots;
    uint64_t elems = tensors_total(&c->job->tensors);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = (uint32_t)((i + seed) % count);
        struct plan_step at = plan_at(&c->job->plan, step);
        for (uint32_t s = 0; s < c->shard_count && !plan_slot_empty(&c->job->plan, &at, slot); s++)
            for (uint32_t k = 0; k < c->ends[s].shard.slice_count; k++)
                push(&c->ends[s], k, step, slot, slots + slot * elems);
    }
    run(c);
    for (uint32_t s = 0; s < c->shard_count; s++) {
        assert(c->ends[s].range.count == 0 || c->ends[s].completed == step + 1);
        if (c->ends[s].shard.job)
            shard_global_low(&c->ends[s].shard, step + 1);
    }
}

void cluster_step(struct cluster *c, uint64_t step, const float *sum, uint64_t seed)
{
    uint64_t elems = tensors_total(&c->job->tensors);
    float *slots = mem_array_zero(elems * c->job->plan.slots, sizeof *slots);
    assert(slots);
    memcpy(slots, sum, elems * sizeof *sum);
    cluster_step_slots(c, step, slots, seed);
    free(slots);
}

void cluster_theta(const struct cluster *c, uint64_t step, float *out)
{
    for (uint32_t s = 0; s < c->shard_count; s++)
        for (uint32_t k = 0; k < c->ends[s].shard.slice_count; k++) {
            const struct slice *slice = &c->ends[s].shard.slices[k];
            memcpy(out + slice->range.first, slice_theta(slice, step)->theta, slice->range.count * sizeof *out);
        }
}
