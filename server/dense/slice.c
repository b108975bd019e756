/* One slice of a shard; the invariants are in slice.h.
 *
 * A commit is one pass: the tree is summed a run at a time in cache, and the update (commit.c) consumes it at once, so
 * that each pushed byte, theta and state are read once and written once. theta_{t+1} is written over a payload where
 * that is large: the payload is in cache, while other memory would have to be read before it can be written.
 * Thread: shard. */
#include "server/dense/slice.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/util.h"
#include "server/dense/commit.h"
#include "server/dense/keep.h"
#include "server/dense/tree.h"
#include "server/step/first_values.h"
#include "server/step/slab.h"

enum {
    VERSIONS_BYTES = 32 << 20, /* memory that running ahead of the head may take, per slice */
    OVER_BYTES = 512 << 10,    /* payloads of this size and more are written over; less stays in cache anyway */
};

/* A payload of the open step that theta_{t+1} can be written over. NULL: none is ours and large, or workers of this
 * machine look for theta in the planes. */
static struct blob *payload_over(const struct slice *slice)
{
    const struct planes *planes = slice->job->planes;
    if (slice->range.count * sizeof(float) < OVER_BYTES || (planes && planes->readers > 0))
        return NULL;
    for (uint32_t i = 1; i < slice->window.leaves * 2; i++) {
        struct blob *payload = &slice->nodes[i].gradient;
        if (payload->data && !shm_is_slab(payload))
            return payload;
    }
    return NULL;
}

static bool slot_is_empty(const void *arg, uint32_t slot)
{
    const struct slice *slice = arg;
    if (slice->job->local)
        return !slice->job->live[slot];
    struct plan_step at = plan_at(&slice->job->plan, slice->window.opened);
    return plan_slot_empty(&slice->job->plan, &at, slot);
}

uint32_t slice_staleness(const struct slice *slice, uint64_t step)
{
    return step < slice->total_steps ? shard_job_staleness(slice->job, step) : 0;
}

/* Beside a step that is not complete only steps of the same kind are open: what commits once, an evaluation above all,
 * must see a theta that stands still, and so must the first step after a change of consistency. */
static bool may_open(const struct slice *slice)
{
    const struct steps *window = &slice->window;
    uint64_t step = window->opened;
    if (step >= slice->total_steps || step >= slice->limit)
        return false;
    if (step == window->next)
        return true;
    uint32_t staleness = slice_staleness(slice, step);
    return step - window->next <= staleness && slice_staleness(slice, step - 1) == staleness;
}

void slice_open(struct slice *slice)
{
    while (may_open(slice)) {
        uint64_t step = slice->window.opened;
        slice->arrived[step % SLICE_VERSIONS] = (struct metrics){0};
        if (step == slice->window.next)
            slice->passed = (double)plan_at(&slice->job->plan, step).train_step; /* no rounding is carried on */
        steps_open(&slice->window, step, slot_is_empty, slice);
    }
}

static bool slot_is_void(const void *arg, uint32_t slot)
{
    const uint8_t *live = arg;
    return !live[slot];
}

void slice_revise(struct slice *slice, const uint8_t *live)
{
    struct steps *window = &slice->window;
    uint64_t step = window->next;
    if (step >= slice->total_steps)
        return;
    for (uint32_t k = 0; k < window->slots; k++)
        if (!live[k]) {
            blob_release(&slice->nodes[window->leaves + k].gradient);
            slice->nodes[window->leaves + k] = (struct node){0};
        }
    steps_open(window, step, slot_is_void, live);
    for (uint32_t k = 0; k < window->slots; k++) {
        uint32_t node = window->leaves + k, replaced;
        if (slice->nodes[node].gradient.data)
            (void)steps_offer(window, step, node, slice->replaced, &replaced);
    }
}

bool slice_pull_ready(const struct slice *slice, uint64_t step)
{
    return step < slice->total_steps ? steps_pull_ready(&slice->window, step)
                                     : slice->window.next >= slice->total_steps;
}

/* Memory that only some kinds of updates need. */
static dp_err allocate_passes(struct slice *slice)
{
    const struct shard_job *job = slice->job;
    uint64_t longest = SLICE_FOLD; /* of what commit.c takes at a time */
    for (uint32_t i = 0; i < slice->segment_count; i++)
        longest = MAX(longest, MIN(slice->blocks[i], slice->segments[i].count));
    slice->prepared = mem_array(SLICE_FOLD, sizeof *slice->prepared);
    if (commit_gathers(job))
        slice->mean = mem_array(slice->range.count, sizeof *slice->mean);
    if (job->rule->rates)
        slice->rates = mem_array(longest, sizeof *slice->rates);
    bool failed = !slice->prepared || (commit_gathers(job) && !slice->mean) || (job->rule->rates && !slice->rates);
    return failed ? DP_NOMEM : DP_OK;
}

static dp_err allocate(struct slice *slice)
{
    const struct shard_job *job = slice->job;
    const uint64_t first = job->first_step;
    dp_err e = steps_init(&slice->window, job->plan.slots, consistency_most(&job->consistency, first), first);
    if (e)
        return e;
    e = tree_init(slice);
    if (e)
        return e;
    for (uint32_t i = 0; i < job->rule->state_count; i++) {
        slice->state[i] = mem_pages_new(slice->range.count * sizeof *slice->state[i]);
        if (!slice->state[i])
            return DP_NOMEM;
    }
    e = versions_init(&slice->versions, slice->range, job->planes);
    if (e)
        return e;
    struct version *theta = versions_new(&slice->versions, plan_trained(&job->plan, first));
    slice->at[first % SLICE_VERSIONS] = theta;
    return theta ? allocate_passes(slice) : DP_NOMEM;
}

static void find_blocks(struct slice *slice)
{
    const struct tensors *tensors = &slice->job->tensors;
    size_t segments = layout_segments(tensors, slice->range, slice->segments, SLICE_SEGMENTS_MAX);
    assert(segments <= SLICE_SEGMENTS_MAX);
    slice->segment_count = (uint32_t)segments;
    for (uint32_t i = 0; i < slice->segment_count; i++)
        slice->blocks[i] = layout_tensor_block(tensors, slice->segments[i].tensor);
    slice->block_count = layout_blocks(tensors, slice->range);
}

/* Slots that are in theta already are no longer owed. */
static void take_arrived(struct slice *slice, uint64_t step, const struct metrics *sums, const uint8_t *accepted)
{
    const struct plan *plan = &slice->job->plan;
    const struct plan_step at = plan_at(plan, step);
    slice->arrived[step % SLICE_VERSIONS] = *sums;
    for (uint32_t k = 0; k < plan->slots; k++) {
        uint64_t first, count;
        uint32_t replaced;
        plan_slot(plan, &at, k, &first, &count);
        if (!(accepted[k / 8] >> k % 8 & 1) || count == 0)
            continue;
        (void)steps_offer(&slice->window, step, slice->window.leaves + k, slice->replaced, &replaced);
        slice->passed += (double)count / (double)at.rows;
    }
}

static dp_err take_arrivals(struct slice *slice, dp_error *err)
{
    struct first_arrivals arrivals;
    const struct shard_job *job = slice->job;
    /* A job whose end was moved to the checkpoint's step asks another question there, whose slots are all owed. */
    if (job->first_step == slice->total_steps || !plan_at(&job->plan, job->first_step).asks->commits)
        return DP_OK;
    dp_err e = first_values_arrivals(job, slice->range, &arrivals, err);
    for (uint64_t i = 0; !e && i < arrivals.open && slice->window.next + i < slice->window.opened; i++)
        take_arrived(slice, slice->window.next + i, &arrivals.sums[i], arrivals.accepted + i * arrivals.accepted_bytes);
    return e;
}

dp_err slice_init(struct slice *slice, const struct shard_job *job, struct range range, dp_error *err)
{
    *slice = (struct slice){.job = job,
                            .range = range,
                            .limit = UINT64_MAX,
                            .past.most = job->past,
                            .oldest = job->first_step,
                            .total_steps = plan_total(&job->plan)};
    assert(job->first_step <= slice->total_steps);
    find_blocks(slice);
    if (allocate(slice)) {
        slice_fini(slice);
        return dp_fail(err, DP_NOMEM,
                       "out of memory for %llu parameters of a slice (%llu MiB with their optimizer state)",
                       (unsigned long long)range.count,
                       (unsigned long long)(range.count * 4 * (2 + job->rule->state_count) >> 20));
    }
    dp_err e = first_values_range(job, range, slice->at[job->first_step % SLICE_VERSIONS]->theta, slice->state, err);
    slice_open(slice);
    if (!e)
        e = take_arrivals(slice, err);
    if (e)
        slice_fini(slice);
    return e;
}

void slice_fini(struct slice *slice)
{
    tree_fini(slice);
    slice_kept_drop(slice);
    past_fini(&slice->past);
    versions_fini(&slice->versions);
    for (int i = 0; i < UPDATE_STATE_MAX; i++)
        mem_pages_free(slice->state[i], slice->range.count * sizeof *slice->state[i]);
    for (int i = 0; i < SLICE_VERSIONS; i++)
        free(slice->reports[i]);
    free(slice->mean);
    free(slice->prepared);
    free(slice->rates);
    steps_fini(&slice->window);
    *slice = (struct slice){0};
}

enum steps_verdict slice_push(struct slice *slice, uint64_t step, uint32_t node, struct blob *gradient,
                              const struct metrics *metrics)
{
    uint32_t replaced = 0;
    enum steps_verdict verdict = steps_offer(&slice->window, step, node, slice->replaced, &replaced);
    if (verdict != STEPS_KEEP) {
        blob_release(gradient);
        return verdict;
    }
    tree_put(slice, step, node, gradient, metrics, replaced);
    return STEPS_KEEP;
}

uint64_t slice_versions_max(const struct slice *slice)
{
    uint64_t fit = VERSIONS_BYTES / (slice->range.count * sizeof(float));
    uint64_t most = slice->versions.shared ? slice->versions.shared_count : SLICE_VERSIONS;
    return MIN(MAX(fit, 4), most);
}

bool slice_ready(const struct slice *slice)
{
    uint64_t next = slice->window.next;
    return next < slice->total_steps && steps_complete(&slice->window, next) &&
           next + 2 - slice->oldest <= slice_versions_max(slice);
}

uint64_t slice_samples(const struct slice *slice, const struct plan_step *at)
{
    bool counted = slice->job->local || slice->job->droppable;
    return counted ? MAX(tree_metrics(slice).count, 1) : at->rows;
}

/* The version that follows `now` when the open training step is committed by a local rule. */
static struct version *commit_train(struct slice *slice, const struct version *now, const struct plan_step *at)
{
    struct commit commit = commit_at(slice->job, at->train_step, slice_samples(slice, at));
    struct blob *over = payload_over(slice);
    struct version *v =
        over ? versions_over(&slice->versions, now->number + 1, over) : versions_new(&slice->versions, now->number + 1);
    double *report = NULL;
    if (!v)
        return NULL;
    if (shard_job_reports(&slice->job->plan, at)) {
        report = mem_array_zero((size_t)slice->block_count * shard_job_report_values(slice->job), sizeof *report);
        if (!report) {
            version_release(v);
            return NULL;
        }
        slice->reports[slice->window.next % SLICE_VERSIONS] = report;
    }
    commit_step(slice, &commit, now->theta, v->theta, report, NULL);
    if (over) {
        v->memory = *over;
        *over = (struct blob){0};
    }
    return v;
}

double *slice_report_take(struct slice *slice, uint64_t step)
{
    double *report = slice->reports[step % SLICE_VERSIONS];
    slice->reports[step % SLICE_VERSIONS] = NULL;
    return report;
}

void slice_publish(struct slice *slice, struct version *version, struct metrics *ret_metrics)
{
    uint64_t step = slice->window.next;
    assert(version->number >= slice->at[step % SLICE_VERSIONS]->number);
    assert(step + 2 - slice->oldest <= SLICE_VERSIONS && !slice->at[(step + 1) % SLICE_VERSIONS]);
    *ret_metrics = tree_metrics(slice);
    slice->at[(step + 1) % SLICE_VERSIONS] = version;
    tree_clear(slice);
    steps_advance(&slice->window);
    slice_open(slice);
}

dp_err slice_commit(struct slice *slice, struct metrics *ret_metrics, dp_error *err)
{
    uint64_t step = slice->window.next;
    struct plan_step at = plan_at(&slice->job->plan, step);
    assert(slice_staleness(slice, step) == 0 && steps_complete(&slice->window, step));
    struct version *now = slice->at[step % SLICE_VERSIONS];
    struct version *then = now;
    if (at.asks->commits)
        then = commit_train(slice, now, &at);
    else
        version_retain(now);
    if (!then)
        return dp_fail(err, DP_NOMEM, "out of memory for another version of %llu parameters at step %llu",
                       (unsigned long long)slice->range.count, (unsigned long long)step);
    slice_publish(slice, then, ret_metrics);
    return DP_OK;
}

struct version *slice_theta(const struct slice *slice, uint64_t step)
{
    uint64_t next = slice->window.next;
    if (step < slice->oldest || (step > next && step >= slice->window.opened))
        return NULL;
    return slice->at[(slice_staleness(slice, step) > 0 ? next : step) % SLICE_VERSIONS];
}

void slice_release_before(struct slice *slice, uint64_t low)
{
    for (; slice->oldest < low && slice->oldest < slice->window.next; slice->oldest++) {
        struct version **at = &slice->at[slice->oldest % SLICE_VERSIONS];
        if (*at)
            version_release(*at);
        *at = NULL;
    }
    assert(slice->oldest <= slice->window.next && slice->at[slice->window.next % SLICE_VERSIONS]);
}
