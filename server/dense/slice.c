/* One slice of a shard; the invariants are in slice.h.
 *
 * A commit is one pass: the tree is summed a run at a time in cache, and the update (commit.c) consumes it at once, so
 * that each pushed byte, theta and state are read once and written once. theta_{t+1} is written over a payload where
 * that is large: the payload is in cache, while other memory would have to be read before it can be written.
 * Thread: shard. */
#include "server/dense/slice.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/dense/commit.h"
#include "server/dense/on_arrival.h"
#include "server/step/slab.h"

enum {
    FOLD_DEPTH = 14,           /* levels of the largest tree, plus the result */
    VERSIONS_BYTES = 32 << 20, /* memory that running ahead of the head may take, per slice */
    OVER_BYTES = 512 << 10,    /* payloads of at least so many bytes are written over; less stays in cache anyway */
};

void version_retain(struct version *version)
{
    atomic_fetch_add_explicit(&version->refs, 1, memory_order_relaxed);
}

void version_release(struct version *version)
{
    uint32_t before = atomic_fetch_sub_explicit(&version->refs, 1, memory_order_release);
    assert(before > 0);
    (void)before;
}

/* Takes a version that nobody refers to. */
static bool version_take(struct version *version)
{
    if (atomic_load_explicit(&version->refs, memory_order_acquire) != 0)
        return false;
    atomic_store_explicit(&version->refs, 1, memory_order_relaxed);
    return true;
}

/* One that nobody refers to. */
static struct version *version_find(const struct slice *slice, bool with_memory)
{
    struct version *v = slice->versions;
    while (v && ((with_memory && !v->memory.data) || !version_take(v)))
        v = v->next;
    return v;
}

/* One that has no memory yet. */
static struct version *version_add(struct slice *slice)
{
    struct version *v = mem_array_zero(1, sizeof *v);
    if (!v)
        return NULL;
    *v = (struct version){.refs = 1, .plane = VERSION_UNSHARED, .next = slice->versions};
    slice->versions = v;
    return v;
}

static bool version_room(const struct slice *slice, struct version *v)
{
    if (!v->memory.data) {
        float *theta = mem_array(slice->range.count, sizeof *theta);
        size_t bytes = theta ? (size_t)slice->range.count * sizeof *theta : 0;
        v->memory = (struct blob){theta, bytes, theta, free};
    }
    v->theta = v->memory.data;
    return v->theta != NULL;
}

/* In its plane where that is free, else in memory of its own, which is allocated if all is in use. */
struct version *slice_version_new(struct slice *slice, uint64_t number)
{
    struct version *v = slice->shared ? &slice->shared[number % slice->job->planes->count] : NULL;
    if (!v || !version_take(v)) {
        v = version_find(slice, true);
        v = v ? v : version_find(slice, false);
        v = v ? v : version_add(slice);
        if (v && !version_room(slice, v)) {
            version_release(v);
            v = NULL;
        }
    }
    if (v)
        v->number = number;
    return v;
}

/* In the memory of a payload, which stays the node's until it has been read. What nobody refers to any more gives its
 * memory back then: the next messages come to lie there. */
static struct version *version_over(struct slice *slice, uint64_t number, const struct blob *payload)
{
    struct version *over = NULL;
    for (struct version *v = slice->versions; v; v = v->next) {
        if (!version_take(v))
            continue;
        blob_release(&v->memory);
        if (over)
            version_release(v);
        else
            over = v;
    }
    over = over ? over : version_add(slice);
    if (over) {
        over->number = number;
        over->theta = payload->data;
    }
    return over;
}

/* Of the open step's payloads, one that theta_{t+1} can be written over. NULL: none is ours and large, or workers of
 * this machine look for theta in the planes. */
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

static dp_err shared_init(struct slice *slice)
{
    const struct planes *planes = slice->job->planes;
    if (!planes)
        return DP_OK;
    slice->shared = mem_array_zero(planes->count, sizeof *slice->shared);
    for (uint32_t p = 0; slice->shared && p < planes->count; p++) {
        slice->shared[p].plane = p;
        slice->shared[p].theta = planes_at(planes, p, slice->range.first);
    }
    return slice->shared ? DP_OK : DP_NOMEM;
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
    if (step >= slice->total_steps || plan_at(&slice->job->plan, step).kind == PLAN_EVAL)
        return 0;
    return consistency_at(&slice->job->consistency, step);
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

bool slice_pull_ready(const struct slice *slice, uint64_t step)
{
    return step < slice->total_steps ? steps_pull_ready(&slice->window, step)
                                     : slice->window.next >= slice->total_steps;
}

/* What the job's kind of update needs besides. */
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
    dp_err e = steps_init(&slice->window, slice->job->plan.slots, consistency_at(&slice->job->consistency, 0));
    if (e)
        return e;
    slice->nodes = mem_array_zero((size_t)slice->window.leaves * 2, sizeof *slice->nodes);
    slice->scratch = mem_array((size_t)SLICE_FOLD * FOLD_DEPTH, sizeof *slice->scratch);
    slice->replaced = mem_array(slice->window.slots, sizeof *slice->replaced);
    if (!slice->nodes || !slice->scratch || !slice->replaced)
        return DP_NOMEM;
    for (uint32_t i = 0; i < slice->job->rule->state_count; i++) {
        slice->state[i] = mem_array_zero(slice->range.count, sizeof *slice->state[i]);
        if (!slice->state[i])
            return DP_NOMEM;
    }
    e = shared_init(slice);
    if (e)
        return e;
    slice->at[0] = slice_version_new(slice, 0);
    return slice->at[0] ? allocate_passes(slice) : DP_NOMEM;
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

dp_err slice_init(struct slice *slice, const struct shard_job *job, struct range range, dp_error *err)
{
    *slice = (struct slice){
        .job = job, .range = range, .limit = UINT64_MAX, .past.most = job->past, .total_steps = plan_total(&job->plan)};
    find_blocks(slice);
    if (allocate(slice)) {
        slice_fini(slice);
        return dp_fail(err, DP_NOMEM,
                       "out of memory for %llu parameters of a slice (%llu MiB with their optimizer state)",
                       (unsigned long long)range.count,
                       (unsigned long long)(range.count * 4 * (2 + job->rule->state_count) >> 20));
    }
    tensors_init_range(&job->tensors, job->plan.seed, range.first, range.count, slice->at[0]->theta);
    if (job->rule->start)
        job->rule->start((size_t)range.count, &job->params, slice->at[0]->theta, slice->state);
    slice_open(slice);
    return DP_OK;
}

void slice_fini(struct slice *slice)
{
    for (uint32_t i = 0; slice->nodes && i < slice->window.leaves * 2; i++)
        blob_release(&slice->nodes[i].gradient);
    past_fini(&slice->past);
    for (struct version *v = slice->versions, *next; v; v = next) {
        next = v->next;
        blob_release(&v->memory);
        free(v);
    }
    for (int i = 0; i < UPDATE_STATE_MAX; i++)
        free(slice->state[i]);
    for (int i = 0; i < SLICE_VERSIONS; i++)
        free(slice->reports[i]);
    free(slice->shared);
    free(slice->mean);
    free(slice->prepared);
    free(slice->rates);
    free(slice->nodes);
    free(slice->scratch);
    free(slice->replaced);
    steps_fini(&slice->window);
    *slice = (struct slice){0};
}

/* Adds up two payloads, left + right, in the place of one that may be written, else in `spare`, which is taken then. */
static struct blob fold_payloads(const struct slice *slice, struct blob *left, struct blob *right, float **spare)
{
    struct blob sum = !shm_is_slab(left) ? *left : !shm_is_slab(right) ? *right : (struct blob){0};
    if (left->data && !sum.data) {
        sum = (struct blob){.data = *spare, .bytes = left->bytes, .owner = *spare, .release = free};
        *spare = NULL;
    }
    if (left->data)
        kernels_get()->add(slice->range.count, left->data, right->data, sum.data);
    if (sum.owner != left->owner)
        blob_release(left);
    if (sum.owner != right->owner)
        blob_release(right);
    return sum;
}

/* Nodes of the open step that take memory of ours: what workers share is theirs. */
static uint32_t nodes_owned(const struct slice *slice, uint64_t step)
{
    uint32_t owned = steps_held(&slice->window, step);
    for (uint32_t i = 1; i < slice->window.leaves * 2; i++)
        owned -= shm_is_slab(&slice->nodes[i].gradient);
    return owned;
}

/* Where any slot may yet become void or be left out, its payload stays apart. Else beyond K/2 + 1 payloads, siblings
 * are added up (left + right) so that memory stays bounded. */
static void fold_over_budget(struct slice *slice, uint64_t step)
{
    uint32_t left, right, parent, most = slice->window.slots / 2 + 1;
    AUTOFREE float *spare = NULL;
    if (slice->job->local || slice->job->droppable)
        return;
    for (uint32_t held; (held = steps_held(&slice->window, step)) > most;) {
        uint32_t owned = nodes_owned(slice, step);
        if (owned < held && !spare)
            spare = mem_array(slice->range.count, sizeof *spare);
        if (owned <= most || (owned < held && !spare) || !steps_fold(&slice->window, step, &left, &right, &parent))
            return;
        struct node *l = &slice->nodes[left], *r = &slice->nodes[right];
        slice->nodes[parent] = (struct node){fold_payloads(slice, &l->gradient, &r->gradient, &spare),
                                             metrics_add(l->metrics, r->metrics), l->from == r->from ? l->from : 0};
        *l = *r = (struct node){0};
    }
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
    for (uint32_t i = 0; i < replaced; i++)
        blob_release(&slice->nodes[slice->replaced[i]].gradient);
    slice->nodes[node] = (struct node){*gradient, *metrics, 0};
    *gradient = (struct blob){0};
    fold_over_budget(slice, step);
    return STEPS_KEEP;
}

uint64_t slice_versions_max(const struct slice *slice)
{
    uint64_t fit = VERSIONS_BYTES / (slice->range.count * sizeof(float));
    uint64_t most = slice->shared ? slice->job->planes->count : SLICE_VERSIONS;
    return MIN(MAX(fit, 4), most);
}

bool slice_ready(const struct slice *slice)
{
    uint64_t next = slice->window.next;
    return next < slice->total_steps && steps_complete(&slice->window, next) &&
           next + 2 - slice->oldest <= slice_versions_max(slice);
}

/* Sum of the subtree of `node` over elements [at, at + n) of the slice: a pointer into a payload, or `out`, or NULL if
 * the subtree is empty; never into `spare`, which is scratch for the levels below and is used again beside them. */
static const float *fold_tree(const struct slice *slice, uint32_t node, uint64_t at, size_t n, float *out, float *spare)
{
    if (slice->nodes[node].gradient.data)
        return (const float *)slice->nodes[node].gradient.data + at;
    if (node >= slice->window.leaves)
        return NULL;
    const float *left = fold_tree(slice, 2 * node, at, n, out, spare + SLICE_FOLD);
    const float *right = fold_tree(slice, 2 * node + 1, at, n, left ? spare : out, spare + SLICE_FOLD);
    if (!left || !right)
        return left ? left : right;
    kernels_get()->add(n, left, right, out);
    return out;
}

/* The same tree over the metrics. */
static struct metrics fold_metrics(const struct slice *slice, uint32_t node)
{
    if (steps_present(&slice->window, slice->window.next, node))
        return slice->nodes[node].metrics;
    if (node >= slice->window.leaves)
        return (struct metrics){0};
    struct metrics left = fold_metrics(slice, 2 * node);
    struct metrics right = fold_metrics(slice, 2 * node + 1);
    return left.count == 0 ? right : right.count == 0 ? left : metrics_add(left, right);
}

uint64_t slice_samples(const struct slice *slice, const struct plan_step *at)
{
    bool counted = slice->job->local || slice->job->droppable;
    return counted ? MAX(fold_metrics(slice, 1).count, 1) : at->rows;
}

const float *slice_fold(const struct slice *slice, uint64_t at, size_t n)
{
    return fold_tree(slice, 1, at, n, slice->scratch, slice->scratch + SLICE_FOLD);
}

/* The version that follows `now` when the open training step is committed by a local rule. */
static struct version *commit_train(struct slice *slice, const struct version *now, const struct plan_step *at)
{
    struct commit commit = commit_at(slice->job, at->train_step, slice_samples(slice, at));
    struct blob *over = payload_over(slice);
    struct version *v = over ? version_over(slice, now->number + 1, over) : slice_version_new(slice, now->number + 1);
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

/* Payloads of the step that was just committed. */
static void release_nodes(struct slice *slice)
{
    for (uint32_t i = 1; i < slice->window.leaves * 2; i++) {
        blob_release(&slice->nodes[i].gradient);
        slice->nodes[i].metrics = (struct metrics){0};
    }
}

void slice_publish(struct slice *slice, struct version *version, struct metrics *ret_metrics)
{
    uint64_t step = slice->window.next;
    *ret_metrics = fold_metrics(slice, 1);
    slice->at[(step + 1) % SLICE_VERSIONS] = version;
    release_nodes(slice);
    steps_advance(&slice->window);
    slice_open(slice);
}

dp_err slice_commit(struct slice *slice, struct metrics *ret_metrics, dp_error *err)
{
    uint64_t step = slice->window.next;
    struct plan_step at = plan_at(&slice->job->plan, step);
    if (slice_staleness(slice, step) > 0)
        return arrival_pass(slice, ret_metrics, err);
    struct version *now = slice->at[step % SLICE_VERSIONS];
    struct version *then = now;
    if (at.kind == PLAN_TRAIN)
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
}
