/* One slice of a shard; the invariants are in slice.h.
 *
 * A commit is one pass: the tree is summed a block at a time in cache, and the update consumes the block at once, so
 * that each pushed byte, theta and state are read once and written once. Thread: shard. */
#include "slice.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    FOLD_BLOCK = 1024,         /* floats; one buffer of the fold is 4 KiB */
    FOLD_DEPTH = 14,           /* levels of the largest tree, plus the result */
    VERSIONS_BYTES = 32 << 20, /* memory that running ahead of the head may take, per slice */
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

/* A version that nobody refers to, with one reference; allocated if all are in use. */
static struct version *version_take(struct slice *slice)
{
    for (struct version *v = slice->versions; v; v = v->next)
        if (atomic_load_explicit(&v->refs, memory_order_acquire) == 0) {
            atomic_store_explicit(&v->refs, 1, memory_order_relaxed);
            return v;
        }
    struct version *v = mem_array_zero(1, sizeof *v);
    if (!v)
        return NULL;
    v->theta = mem_array(slice->range.count, sizeof *v->theta);
    if (!v->theta) {
        free(v);
        return NULL;
    }
    atomic_store_explicit(&v->refs, 1, memory_order_relaxed);
    v->next = slice->versions;
    slice->versions = v;
    return v;
}

static bool slot_is_empty(const void *arg, uint32_t slot)
{
    const struct slice *slice = arg;
    struct plan_step at = plan_at(&slice->job->plan, slice->window.next);
    return plan_slot_empty(&slice->job->plan, &at, slot);
}

static void open_next(struct slice *slice)
{
    if (slice->window.next < slice->total_steps)
        steps_open(&slice->window, slice->window.next, slot_is_empty, slice);
}

static dp_err allocate(struct slice *slice)
{
    dp_err e = steps_init(&slice->window, slice->job->plan.slots, 0);
    if (e)
        return e;
    slice->nodes = mem_array_zero((size_t)slice->window.leaves * 2, sizeof *slice->nodes);
    slice->scratch = mem_array((size_t)FOLD_BLOCK * FOLD_DEPTH, sizeof *slice->scratch);
    slice->replaced = mem_array(slice->window.slots, sizeof *slice->replaced);
    if (!slice->nodes || !slice->scratch || !slice->replaced)
        return DP_NOMEM;
    for (uint32_t i = 0; i < slice->job->rule->state_count; i++) {
        slice->state[i] = mem_array_zero(slice->range.count, sizeof *slice->state[i]);
        if (!slice->state[i])
            return DP_NOMEM;
    }
    slice->at[0] = version_take(slice);
    return slice->at[0] ? DP_OK : DP_NOMEM;
}

dp_err slice_init(struct slice *slice, const struct slice_job *job, struct range range, dp_error *err)
{
    *slice = (struct slice){.job = job, .range = range, .total_steps = plan_total(&job->plan)};
    size_t segments = layout_segments(&job->tensors, range, slice->segments, SLICE_SEGMENTS_MAX);
    assert(segments <= SLICE_SEGMENTS_MAX);
    slice->segment_count = (uint32_t)segments;
    if (allocate(slice)) {
        slice_fini(slice);
        return dp_fail(err, DP_NOMEM,
                       "out of memory for %llu parameters of a slice (%llu MiB with their optimizer state)",
                       (unsigned long long)range.count,
                       (unsigned long long)(range.count * 4 * (2 + job->rule->state_count) >> 20));
    }
    tensors_init_range(&job->tensors, job->plan.seed, range.first, range.count, slice->at[0]->theta);
    open_next(slice);
    return DP_OK;
}

void slice_fini(struct slice *slice)
{
    for (uint32_t i = 0; slice->nodes && i < slice->window.leaves * 2; i++)
        blob_release(&slice->nodes[i].gradient);
    for (struct version *v = slice->versions, *next; v; v = next) {
        next = v->next;
        free(v->theta);
        free(v);
    }
    for (int i = 0; i < UPDATE_STATE_MAX; i++)
        free(slice->state[i]);
    free(slice->nodes);
    free(slice->scratch);
    free(slice->replaced);
    steps_fini(&slice->window);
    *slice = (struct slice){0};
}

static struct metrics metrics_add(struct metrics a, struct metrics b)
{
    return (struct metrics){a.count + b.count, a.loss + b.loss, a.correct + b.correct};
}

/* Beyond K/2 + 1 payloads, siblings are added up (in place, left + right) so that memory stays bounded. */
static void fold_over_budget(struct slice *slice, uint64_t step)
{
    uint32_t left, right, parent;
    while (steps_held(&slice->window, step) > slice->window.slots / 2 + 1 &&
           steps_fold(&slice->window, step, &left, &right, &parent)) {
        struct node *l = &slice->nodes[left], *r = &slice->nodes[right];
        if (l->gradient.data)
            kernels_get()->add(slice->range.count, l->gradient.data, r->gradient.data, l->gradient.data);
        l->metrics = metrics_add(l->metrics, r->metrics);
        blob_release(&r->gradient);
        slice->nodes[parent] = *l;
        *l = (struct node){0};
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
    slice->nodes[node] = (struct node){*gradient, *metrics};
    *gradient = (struct blob){0};
    fold_over_budget(slice, step);
    return STEPS_KEEP;
}

uint64_t slice_versions_max(const struct slice *slice)
{
    uint64_t fit = VERSIONS_BYTES / (slice->range.count * sizeof(float));
    return MIN(MAX(fit, 4), (uint64_t)SLICE_VERSIONS);
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
    const float *left = fold_tree(slice, 2 * node, at, n, out, spare + FOLD_BLOCK);
    const float *right = fold_tree(slice, 2 * node + 1, at, n, left ? spare : out, spare + FOLD_BLOCK);
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

/* Elements [segment.offset, + segment.count): the sum of the tree and the update, a block at a time. */
static void commit_segment(struct slice *slice, const struct segment *segment, uint64_t samples, const float *w,
                           float *out)
{
    const struct update_rule *rule = slice->job->rule;
    bool regularized = slice->job->tensors.list[segment->tensor].regularized;
    struct kernel_update p = update_at(&slice->job->params, samples, regularized);
    uint64_t end = segment->offset + segment->count;
    for (uint64_t at = segment->offset; at < end; at += FOLD_BLOCK) {
        size_t n = (size_t)MIN((uint64_t)FOLD_BLOCK, end - at);
        const float *g = fold_tree(slice, 1, at, n, slice->scratch, slice->scratch + FOLD_BLOCK);
        float *state[UPDATE_STATE_MAX];
        for (uint32_t i = 0; i < rule->state_count; i++)
            state[i] = slice->state[i] + at;
        rule->step(n, &p, w + at, g, state, out + at);
    }
}

/* The version that follows `now` when a training step of so many samples is committed. */
static struct version *commit_train(struct slice *slice, const struct version *now, uint64_t samples)
{
    struct version *v = version_take(slice);
    if (!v)
        return NULL;
    for (uint32_t i = 0; i < slice->segment_count; i++)
        commit_segment(slice, &slice->segments[i], samples, now->theta, v->theta);
    v->number = now->number + 1;
    return v;
}

/* Payloads of the step that was just committed. */
static void release_nodes(struct slice *slice)
{
    for (uint32_t i = 1; i < slice->window.leaves * 2; i++) {
        blob_release(&slice->nodes[i].gradient);
        slice->nodes[i].metrics = (struct metrics){0};
    }
}

dp_err slice_commit(struct slice *slice, struct metrics *ret_metrics, dp_error *err)
{
    uint64_t step = slice->window.next;
    struct plan_step at = plan_at(&slice->job->plan, step);
    struct version *now = slice->at[step % SLICE_VERSIONS];
    struct metrics metrics = fold_metrics(slice, 1);
    struct version *then = now;
    if (at.kind == PLAN_TRAIN)
        then = commit_train(slice, now, at.rows);
    else
        version_retain(now);
    if (!then)
        return dp_fail(err, DP_NOMEM, "out of memory for another version of %llu parameters at step %llu",
                       (unsigned long long)slice->range.count, (unsigned long long)step);
    slice->at[(step + 1) % SLICE_VERSIONS] = then;
    release_nodes(slice);
    steps_advance(&slice->window);
    open_next(slice);
    *ret_metrics = metrics;
    return DP_OK;
}

struct version *slice_theta(const struct slice *slice, uint64_t step)
{
    return step >= slice->oldest && step <= slice->window.next ? slice->at[step % SLICE_VERSIONS] : NULL;
}

void slice_release_before(struct slice *slice, uint64_t low)
{
    for (; slice->oldest < low && slice->oldest < slice->window.next; slice->oldest++) {
        version_release(slice->at[slice->oldest % SLICE_VERSIONS]);
        slice->at[slice->oldest % SLICE_VERSIONS] = NULL;
    }
}
