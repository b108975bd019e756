/* A shard; the invariants are in shard.h. Thread: shard. */
#include "server/shard/shard.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/dense/on_arrival.h"
#include "server/shard/rows.h"
#include "server/step/block_sums.h"

void shard_init(struct shard *shard, uint32_t id, struct shard_counters *counters, const struct shard_calls *calls)
{
    *shard = (struct shard){.id = id, .barrier = UINT64_MAX, .counters = counters, .calls = *calls};
}

void shard_fini(struct shard *shard)
{
    global_fini(&shard->global, shard->slice_count); /* lets go of versions, which are the slices' */
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        slice_fini(&shard->slices[i]);
        parked_fini(&shard->parked[i]);
    }
    shard_rows_fini(shard);
    roster_fini(&shard->roster);
    planes_fini(&shard->planes);
    schedule_past_fini(&shard->past_rates);
    free(shard->slices);
    free(shard->parked);
    *shard = (struct shard){0};
}

dp_err shard_start(struct shard *shard, const struct shard_job *job, uint32_t first_slice, const struct range *slices,
                   uint32_t slice_count, dp_error *err)
{
    shard->slices = mem_array_zero(slice_count, sizeof *shard->slices);
    shard->parked = mem_array_zero(slice_count, sizeof *shard->parked);
    shard->own = *job;
    shard->own.planes = shard->planes.count ? &shard->planes : NULL;
    if (!shard->slices || !shard->parked || global_init(&shard->global, job, slice_count))
        return dp_fail(err, DP_NOMEM, "out of memory for %u slices", slice_count);
    if ((job->local || job->droppable) && roster_init(&shard->roster, job->plan.slots))
        return dp_fail(err, DP_NOMEM, "out of memory for %u slots", job->plan.slots);
    shard->own.live = shard->roster.live;
    for (uint32_t i = 0; i < slice_count; i++) {
        dp_err e = slice_init(&shard->slices[i], &shard->own, slices[i], err);
        if (e)
            return e;
        shard->slice_count = i + 1;
    }
    shard->job = &shard->own;
    shard->first_slice = first_slice;
    shard->total_steps = plan_total(&job->plan);
    return DP_OK;
}

/* A refused push on arrival is told what has been accepted of its step. */
static void refuse_at(struct shard *shard, const struct push_pull *msg, dp_err code, uint64_t step, const char *text)
{
    const struct slice *slice = &shard->slices[msg->slice];
    bool tell = msg->push && slice_staleness(slice, msg->step) > 0;
    struct refusal refusal = {
        .session = msg->session,
        .request = msg->request,
        .slice = shard->first_slice + msg->slice,
        .code = code,
        .step = step,
        .text = text,
        .accepted = shard->accepted,
        .accepted_bytes = tell ? steps_accepted(&slice->window, msg->step, shard->accepted) : 0,
    };
    counter_add(&shard->counters->refused, 1);
    shard->calls.refuse(shard->calls.arg, &refusal);
}

static void refuse(struct shard *shard, const struct push_pull *msg, dp_err code, const char *text)
{
    refuse_at(shard, msg, code, shard->slices[msg->slice].window.next, text);
}

/* What the session computes on from now on is kept; NULL: nothing that could become old. */
static void keep(struct shard *shard, struct slice *slice, uint32_t session, struct version *version)
{
    uint64_t before = slice->past.versions, bytes = slice->range.count * sizeof(float);
    if (version)
        past_keep(&slice->past, session, version);
    else
        past_forget(&slice->past, session);
    counter_add(&shard->counters->past_bytes, (slice->past.versions - before) * bytes); /* may be less */
}

/* Answers a pull for a step that is not in the future; false if theta of it is no longer held. */
static bool answer(struct shard *shard, uint32_t index, const struct parked *pull)
{
    struct slice *slice = &shard->slices[index];
    struct params params = {
        .session = pull->session, .request = pull->request, .slice = shard->first_slice + index, .step = pull->step};
    struct version *version = slice_theta(slice, pull->step);
    if (!version)
        return false;
    params.number = version->number;
    params.last = pull->step >= shard->total_steps;
    params.version = params.last || pull->have == version->number + 1 ? NULL : version;
    params.staleness = slice_staleness(slice, pull->step);
    params.accepted = shard->accepted;
    if (params.staleness > 0)
        params.accepted_bytes = steps_accepted(&slice->window, pull->step, shard->accepted);
    keep(shard, slice, pull->session, params.staleness > 0 ? version : NULL);
    counter_add(&shard->counters->pulls, 1);
    shard->calls.params(shard->calls.arg, &params);
    return true;
}

void shard_unpark(struct shard *shard, uint32_t index)
{
    struct parked_list *list = &shard->parked[index];
    uint64_t now_ns = mono_ns();
    for (size_t i = 0; i < list->count;) {
        const struct parked *pull = &list->list[i];
        if (slice_pull_ready(&shard->slices[index], pull->step) && answer(shard, index, pull)) {
            counter_add(&shard->counters->parked_ns, now_ns - pull->since_ns);
            parked_drop(list, i);
        } else {
            i++;
        }
    }
}

void shard_sums(struct shard *shard, const struct event_sums *sums)
{
    shard->calls.emit(shard->calls.arg, &(struct event){.kind = EVENT_SUMS, .sums = *sums});
}

/* The next sums of a report: moves them to `to`, which may be NULL, and returns where the ones after them go. */
static double *move_report(double *report, uint64_t blocks, uint32_t values, double *to)
{
    size_t count = (size_t)blocks * values;
    if (to && report)
        memcpy(to, report, count * sizeof *to);
    free(report);
    return to ? to + count : NULL;
}

/* The sums of a completed step, of slices and then parts, one after the other, to the head. */
static void send_report(struct shard *shard, uint64_t step)
{
    const struct shard_tables *tables = &shard->tables;
    uint32_t values = shard_job_report_values(&shard->own);
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        blocks += shard->slices[i].block_count;
    for (uint32_t i = 0; i < tables->count; i++)
        blocks += part_blocks(&tables->parts[i]);
    double *sums = mem_array_zero((size_t)blocks * values, sizeof *sums), *to = sums;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        to = move_report(slice_report_take(&shard->slices[i], step), shard->slices[i].block_count, values, to);
    for (uint32_t i = 0; i < tables->count; i++)
        to = move_report(part_report_take(&tables->parts[i], step), part_blocks(&tables->parts[i]), values, to);
    if (sums)
        shard_sums(shard, &(struct event_sums){step, EXCHANGE_REPORT, values, blocks * values, sums});
}

static bool has_report(const struct shard *shard, uint64_t step)
{
    return (shard->slice_count > 0 && shard->slices[0].reports[step % SLICE_VERSIONS]) ||
           (shard->tables.count > 0 && shard->tables.parts[0].reports[step % PART_STEPS]);
}

/* Of a step whose gradient was not finite the loss may be. */
static struct metrics metrics_of(const struct shard *shard, uint64_t step)
{
    struct metrics m = shard->first_metrics[step % SLICE_VERSIONS];
    for (uint32_t i = 0; i < shard->slice_count; i++)
        if (shard->slices[i].infinite_from && step + 1 >= shard->slices[i].infinite_from)
            m.loss = NAN;
    for (uint32_t i = 0; i < shard->tables.count; i++)
        if (shard->tables.parts[i].infinite_from && step + 1 >= shard->tables.parts[i].infinite_from)
            m.loss = NAN;
    return m;
}

struct blame shard_blame(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slice_count; i++)
        if (shard->slices[i].infinite_from && (shard->slices[i].blame.node || shard->slices[i].blame.state))
            return shard->slices[i].blame;
    return (struct blame){0};
}

void shard_raise_low(struct shard *shard)
{
    uint64_t low = shard_rows_low(shard);
    for (uint32_t i = 0; i < shard->slice_count; i++)
        low = MIN(low, shard->slices[i].window.next);
    for (; shard->low < low; shard->low++) {
        if (has_report(shard, shard->low))
            send_report(shard, shard->low);
        struct event event = {.kind = EVENT_COMPLETED, .completed = {shard->low, metrics_of(shard, shard->low), {0}}};
        if (!isfinite(event.completed.metrics.loss))
            event.completed.blame = shard_blame(shard);
        shard->calls.emit(shard->calls.arg, &event);
    }
    atomic_store_explicit(&shard->counters->low, low, memory_order_relaxed);
}

void shard_fail(struct shard *shard, const dp_error *err)
{
    if (shard->failed)
        return;
    shard->failed = true;
    struct event event = {.kind = EVENT_FAILED, .failed = mem_array(1, sizeof *event.failed)};
    if (event.failed)
        *event.failed = *err;
    shard->calls.emit(shard->calls.arg, &event);
}

bool shard_may_commit(const struct shard *shard, const struct slice *slice)
{
    return !shard->failed && slice->window.next < shard->barrier &&
           roster_lets_go(&shard->roster, slice->window.next) && slice_ready(slice);
}

void shard_take_up(struct shard *shard, struct slice *slice)
{
    counter_add(&shard->counters->queued_ns, slice->arrivals * mono_ns() - slice->arrived_ns);
    counter_add(&shard->counters->commits, 1);
    slice->arrivals = slice->arrived_ns = 0;
}

static uint64_t slots_of(const struct shard *shard, uint64_t step, const struct plan_step *at)
{
    uint64_t slots = 0;
    if (!shard->own.local)
        return MIN(at->rows, (uint64_t)shard->own.plan.slots) - roster_dropped(&shard->roster, step);
    for (uint32_t k = 0; k < shard->own.plan.slots; k++)
        slots += shard->own.live[k];
    return slots;
}

/* A training step was committed at once: none of its gradients was stale. */
static void count_slots(struct shard *shard, const struct slice *slice, uint64_t step)
{
    struct plan_step at = plan_at(&shard->own.plan, step);
    if (at.kind == PLAN_TRAIN && slice_staleness(slice, step) == 0)
        staleness_add(&shard->counters->staleness, 0, slots_of(shard, step, &at));
}

static void published(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        count_slots(shard, &shard->slices[i], shard->global.step);
        shard_unpark(shard, i);
    }
    shard_raise_low(shard);
}

static bool is_global_step(const struct shard *shard, const struct slice *slice)
{
    return shard->global.needed && plan_at(&shard->own.plan, slice->window.next).kind == PLAN_TRAIN;
}

/* Commits what is complete of a slice, one step or, on arrival, all that follow one another. False on failure. */
static bool commit(struct shard *shard, uint32_t index)
{
    struct slice *slice = &shard->slices[index];
    while (shard_may_commit(shard, slice) && !is_global_step(shard, slice)) {
        struct metrics metrics;
        dp_error err;
        uint64_t step = slice->window.next;
        if (slice_staleness(slice, step) == 0)
            shard_take_up(shard, slice);
        if (slice_commit(slice, &metrics, &err)) {
            shard_fail(shard, &err);
            return false;
        }
        count_slots(shard, slice, step);
        if (index == 0)
            shard->first_metrics[step % SLICE_VERSIONS] = metrics;
    }
    return true;
}

void shard_advance(struct shard *shard, uint32_t index)
{
    struct slice *slice = &shard->slices[index];
    if (!shard_may_commit(shard, slice))
        return;
    uint64_t start_ns = mono_ns();
    if (is_global_step(shard, slice)) {
        bool whole = global_try(shard);
        counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
        if (whole)
            published(shard);
        return;
    }
    bool good = commit(shard, index);
    counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
    if (!good)
        return;
    shard_unpark(shard, index);
    shard_raise_low(shard);
}

void shard_totals(struct shard *shard, uint64_t step, uint32_t phase, const double *totals)
{
    uint64_t start_ns = mono_ns();
    bool whole = global_totals(shard, step, phase, totals);
    counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
    if (whole)
        published(shard);
    if (shard->roster.on)
        roster_look(shard);
}

/* How late a gradient was that has been committed, and what was done about it. */
static void count_read(struct shard *shard, const struct arrival_read *read)
{
    bool late = !read->known || read->between > 0;
    if (read->known)
        staleness_add(&shard->counters->staleness, read->between, 1);
    if (late && shard->own.params.compensation > 0)
        counter_add(read->version ? &shard->counters->compensated : &shard->counters->uncompensated, 1);
}

/* A slot is committed at once; out of memory, the head is told. */
static enum steps_verdict arrive(struct shard *shard, struct slice *slice, const struct push_pull *msg,
                                 struct blob *gradient)
{
    bool was_finite = slice->infinite_from == 0;
    uint64_t start_ns = mono_ns();
    struct arrival_read read = arrival_read(slice, msg->read);
    enum steps_verdict verdict = STEPS_DUPLICATE;
    dp_error err;
    if (arrival_push(slice, msg->step, msg->node, &read, gradient, &msg->metrics, &verdict, &err))
        shard_fail(shard, &err);
    if (verdict != STEPS_KEEP)
        return verdict;
    if (was_finite && slice->blame.node)
        slice->blame = (struct blame){msg->node, 1 + msg->session, slice->blame.state};
    counter_add(&shard->counters->commits, 1);
    counter_add(&shard->counters->commit_ns, mono_ns() - start_ns);
    count_read(shard, &read);
    return verdict;
}

static enum steps_verdict offer(struct shard *shard, const struct push_pull *msg, struct blob *gradient)
{
    struct slice *slice = &shard->slices[msg->slice];
    if (slice_staleness(slice, msg->step) > 0)
        return arrive(shard, slice, msg, gradient);
    enum steps_verdict verdict = slice_push(slice, msg->step, msg->node, gradient, &msg->metrics);
    if (verdict == STEPS_KEEP) {
        slice->nodes[msg->node].from = slice->nodes[msg->node].gradient.data ? 1 + msg->session : 0;
        slice->arrivals++;
        slice->arrived_ns += mono_ns();
    }
    return verdict;
}

bool shard_offered(struct shard *shard, enum steps_verdict verdict, uint32_t piece, uint32_t session, uint64_t step,
                   uint32_t node)
{
    counter_add(&shard->counters->duplicates, verdict == STEPS_DUPLICATE);
    if (verdict != STEPS_AHEAD && piece == 0)
        shard->calls.arrived(shard->calls.arg, session, step, node);
    return verdict != STEPS_AHEAD;
}

static bool push(struct shard *shard, const struct push_pull *msg, struct blob *gradient)
{
    const struct slice *slice = &shard->slices[msg->slice];
    struct plan_step at = plan_at(&shard->job->plan, msg->step);
    bool wants_payload = at.kind == PLAN_TRAIN;
    if (wants_payload != (gradient->data != NULL)) {
        refuse(shard, msg, DP_PROTO,
               wants_payload ? "a training push needs its gradient" : "an evaluation push has no payload");
        return false;
    }
    bool singly = slice_staleness(slice, msg->step) > 0 || shard->own.droppable;
    if (singly && msg->node < slice->window.leaves) {
        refuse(shard, msg, DP_REFUSED,
               "where commits are on arrival or slots may be dropped, they are pushed one by one");
        return false;
    }
    counter_add(&shard->counters->pushes, 1);
    enum steps_verdict verdict = offer(shard, msg, gradient);
    if (shard_offered(shard, verdict, shard->first_slice + msg->slice, msg->session, msg->step, msg->node))
        return true;
    refuse(shard, msg, DP_RANGE, "push for a step that is not open");
    return false;
}

static void pull(struct shard *shard, const struct push_pull *msg)
{
    const struct slice *slice = &shard->slices[msg->slice];
    const struct parked want = {
        .session = msg->session, .request = msg->request, .step = msg->pull_step, .have = msg->have};
    if (slice_pull_ready(slice, want.step)) {
        if (!answer(shard, msg->slice, &want))
            refuse_at(shard, msg, DP_STEP_DONE, slice->oldest, "that step is complete");
    } else if (want.step > slice->window.opened) {
        refuse(shard, msg, DP_RANGE, "pull for a step beyond the next");
    } else if (!parked_put(&shard->parked[msg->slice], &want)) {
        refuse(shard, msg, DP_BUSY, "out of memory for waiting pulls");
    }
}

void shard_push_pull(struct shard *shard, const struct push_pull *msg, struct blob *gradient)
{
    if (shard->failed)
        refuse(shard, msg, DP_BUSY, "the job has failed here");
    bool good = !shard->failed && (!msg->push || push(shard, msg, gradient));
    blob_release(gradient);
    if (good && msg->pull)
        pull(shard, msg);
    if (good && msg->push)
        shard_advance(shard, msg->slice);
    if (good && msg->push && shard->roster.on)
        roster_look(shard);
}

void shard_go(struct shard *shard, uint64_t go)
{
    shard->roster.go = MAX(shard->roster.go, go);
    roster_asked(&shard->roster); /* what was told was of the step before */
    for (uint32_t i = 0; i < shard->slice_count; i++)
        shard_advance(shard, i);
    roster_look(shard);
}

void shard_global_low(struct shard *shard, uint64_t low)
{
    shard->global_low = low;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        slice_release_before(&shard->slices[i], low);
        shard_advance(shard, i);
    }
    shard_rows_release_before(shard, low);
    shard_rows_advance_all(shard);
    if (shard->roster.on)
        roster_look(shard);
}

void shard_forget(struct shard *shard, uint32_t session)
{
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        parked_forget(&shard->parked[i], session);
        keep(shard, &shard->slices[i], session, NULL);
    }
    shard_rows_forget(shard, session);
}

/* Marks what a window is owed, if it is at the step. `owed` is scratch. */
static void mark_owed(const struct steps *window, uint64_t step, uint32_t *owed, bool *owes)
{
    uint32_t n = window->next == step ? steps_owed(window, step, owed) : 0;
    for (uint32_t i = 0; i < n; i++)
        owes[owed[i]] = true;
}

uint32_t shard_owed(const struct shard *shard, uint64_t *ret_step, uint32_t *owed)
{
    bool owes[STEPS_SLOTS_MAX] = {false};
    uint32_t count = 0;
    *ret_step = shard->low;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        mark_owed(&shard->slices[i].window, shard->low, owed, owes);
    for (uint32_t i = 0; i < shard->tables.count; i++)
        mark_owed(&shard->tables.parts[i].window, shard->low, owed, owes);
    for (uint32_t k = 0; k < shard->own.plan.slots; k++)
        if (owes[k])
            owed[count++] = k;
    return count;
}
