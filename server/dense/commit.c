/* Commits on a slice; see commit.h. Thread: shard. */
#include "server/dense/commit_impl.h"

#include <assert.h>
#include <math.h>

#include "common/base/number.h"
#include "common/base/util.h"
#include "server/dense/keep.h"
#include "server/dense/tree.h"

static bool concerns(const struct constraint *c, uint32_t tensor)
{
    return c->mask >> tensor & 1;
}

bool commit_projects_globally(const struct shard_job *job, uint32_t i)
{
    return job->constraints.method == METHOD_PROJECT && constraint_is_global(&job->constraints.list[i]);
}

static bool pulls(const struct shard_job *job)
{
    return job->constraints.method != METHOD_PROJECT && job->constraints.count > 0;
}

bool commit_gathers(const struct shard_job *job)
{
    bool terms = false;
    for (uint32_t i = 0; i < job->constraints.count; i++)
        terms |= pulls(job) && constraint_is_global(&job->constraints.list[i]);
    return job->params.clip_norm > 0 || job->rule == &rule_lars || terms;
}

bool commit_is_global(const struct shard_job *job)
{
    bool global = commit_gathers(job) || job->rule->layerwise;
    for (uint32_t i = 0; i < job->constraints.count; i++)
        global |= commit_projects_globally(job, i);
    return global;
}

bool commit_may_arrive(const struct shard_job *job)
{
    return job->rule->part && !commit_is_global(job);
}

uint32_t commit_gather_values(const struct shard_job *job)
{
    return GATHER_VALUES + (pulls(job) ? shard_job_constraint_values(job) : 0);
}

struct commit commit_at(const struct shard_job *job, uint64_t t, uint64_t samples)
{
    struct commit c = {
        .job = job,
        .t = t,
        .samples = samples,
        .eta = schedule_rate(&job->params.schedule, t),
        .gain = 1,
        .clip_scale = 1,
    };
    for (uint32_t i = 0; i < TENSOR_COUNT_MAX; i++)
        c.trust[i] = 1;
    return c;
}

struct commit commit_part_at(const struct shard_job *job, uint64_t t, uint64_t samples, const struct update_part *part)
{
    struct commit c = commit_at(job, t, samples);
    struct kernel_update unit = {.inv_count = 1};
    job->rule->part(&job->params, &job->regular[0], part, &unit);
    c.part = part;
    c.eta = part->fraction * part->eta;
    c.gain = unit.inv_count;
    return c;
}

/* ---- blocks ---- */

bool walk_next(struct walk *walk, struct block *ret_block)
{
    const struct slice *slice = walk->slice;
    if (walk->segment == slice->segment_count)
        return false;
    const struct segment *s = &slice->segments[walk->segment];
    uint64_t left = s->count - walk->done, block = slice->blocks[walk->segment];
    if (walk->merged)
        block *= MAX((uint64_t)SLICE_FOLD / block, (uint64_t)1);
    *ret_block = (struct block){s->tensor, s->offset + walk->done, (size_t)MIN(left, block)};
    walk->done += ret_block->n;
    if (walk->done == s->count) {
        walk->segment++;
        walk->done = 0;
    }
    return true;
}

/* ---- sums ---- */

/* Adds the sums of a block of theta that constraints need. */
static void add_constraint_sums(const struct slice *slice, struct block b, const float *w, double *sums)
{
    const struct shard_job *job = slice->job;
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        const struct constraint *c = &job->constraints.list[i];
        uint64_t row = constraint_unit(c, &job->tensors.list[b.tensor]);
        if (concerns(c, b.tensor))
            constraint_sums(c, slice->range.first + b.at, row, b.n, w, sums);
        sums += constraint_sum_count(c);
    }
}

static void report_block(const struct slice *slice, struct block b, const float *w, double *sums)
{
    struct regular_sums r = regular_sums(&slice->job->regular[b.tensor], b.n, w);
    sums[REPORT_MAGNITUDES] = r.magnitudes;
    sums[REPORT_SQUARES] = r.squares;
    sums[REPORT_GROUPS] = r.group_norms;
    sums[REPORT_ZEROS] = r.zeros;
    sums[REPORT_ELEMS] = (double)b.n;
    add_constraint_sums(slice, b, w, sums + REPORT_VALUES);
}

/* ---- first pass of global rules ---- */

/* g/samples, clipped by value, to out. */
static void mean_of(const struct commit *commit, float inv_count, size_t n, const float *g, float *out)
{
    double clip = commit->job->params.clip_value;
    kernels_get()->clip(n, inv_count, clip > 0 ? (float)clip : INFINITY, g, out);
}

/* The mean gradient at w, as far as one that was computed on an earlier theta tells, clipped by value, to out. */
static void compensated(const struct commit *commit, struct block b, const float *w, const float *g, float *out)
{
    const struct update_params *p = &commit->job->params;
    float inv_count = (float)(1.0 / (double)commit->samples);
    kernels_get()->compensate(b.n, inv_count, (float)p->compensation, g, w, commit->read + b.at, out);
    if (p->clip_value > 0)
        kernels_get()->clip(b.n, 1, (float)p->clip_value, out, out);
}

void commit_gather(struct slice *slice, const struct commit *commit, const float *w, double *sums)
{
    uint32_t values = commit_gather_values(commit->job);
    struct walk walk = {.slice = slice};
    struct block b;
    for (; walk_next(&walk, &b); sums += values) {
        for (size_t done = 0, n; done < b.n; done += n) {
            n = MIN(b.n - done, (size_t)SLICE_FOLD);
            const float *g = tree_sum(slice, b.at + done, n);
            mean_of(commit, (float)(1.0 / (double)commit->samples), n, g, slice->mean + b.at + done);
        }
        sums[GATHER_GRADIENT] = kernels_get()->sum_squares(b.n, slice->mean + b.at);
        sums[GATHER_WEIGHT] = kernels_get()->sum_squares(b.n, w + b.at);
        if (pulls(commit->job))
            add_constraint_sums(slice, b, w + b.at, sums + GATHER_VALUES);
    }
}

/* ---- the step ---- */

/* The rate of a tensor in this commit. */
static double rate_of(const struct commit *commit, uint32_t tensor)
{
    return commit->eta * commit->trust[tensor];
}

struct kernel_update commit_kernel(const struct slice *slice, const struct commit *commit, uint32_t tensor)
{
    const struct shard_job *job = commit->job;
    if (commit->part)
        return update_part_at(job->rule, &job->params, &job->regular[tensor], commit->t, commit->samples, commit->part);
    struct kernel_update k =
        update_at(job->rule, &job->params, &job->regular[tensor], rate_of(commit, tensor), commit->t, commit->samples);
    if (slice->mean)
        update_scale(&k, commit->clip_scale);
    return k;
}

static void pull(const struct slice *slice, const struct commit *commit, struct block b, const float *w, float *g)
{
    const struct constraints *all = &commit->job->constraints;
    const double *sums = commit->pull_sums, *weights = commit->weights;
    for (uint32_t i = 0; i < all->count; i++) {
        const struct constraint *c = &all->list[i];
        if (concerns(c, b.tensor))
            constraint_pull(c, slice->range.first + b.at, b.n, w, sums, weights, all->beta, g);
        sums = sums ? sums + constraint_sum_count(c) : NULL;
        weights += constraint_term_count(c);
    }
}

/* The gradient as the rule takes it: what clipping by value, compensation or penalties change is made ready in scratch.
 */
static const float *prepared(struct slice *slice, const struct commit *commit, struct block b, const float *w,
                             const float *g, struct kernel_update *k)
{
    bool clips = commit->job->params.clip_value > 0 && !slice->mean;
    if (!clips && !commit->read && !pulls(commit->job))
        return g;
    if (commit->read)
        compensated(commit, b, w, g, slice->prepared);
    else if (slice->mean)
        kernels_get()->clip(b.n, k->inv_count, INFINITY, g, slice->prepared);
    else
        mean_of(commit, (float)(1.0 / (double)commit->samples), b.n, g, slice->prepared);
    if (pulls(commit->job))
        pull(slice, commit, b, w, slice->prepared);
    update_scale(k, commit->gain);
    return slice->prepared;
}

/* Looks which node of the step brought what is not finite in the block. A payload that theta_{t+1} is written over is
 * gone up to there; what follows of it is not. */
static void find_blame(struct slice *slice, struct block b, const float *out)
{
    for (uint32_t i = 1; i < slice->window.leaves * 2; i++) {
        const float *g = slice->nodes[i].gradient.data;
        if (!g)
            continue;
        uint64_t from = g + b.at == out ? b.at + b.n : b.at, end = g + b.at == out ? slice->range.count : b.at + b.n;
        if (floats_finite((size_t)(end - from), g + from))
            continue;
        slice->blame.node = i;
        slice->blame.from = slice->nodes[i].from;
        return;
    }
}

/* `x` is theta_{t+1} of the block, or on the way there. */
void commit_look(struct slice *slice, struct block b, const float *x)
{
    if (slice->infinite_from || kernels_get()->finite(b.n, x))
        return;
    slice->infinite_from = slice->window.next + 1;
    find_blame(slice, b, x);
}

/* A state that has overflowed, as the square of a gradient of 1e20 does, would make theta stand still from now on. */
static void look_at_state(struct slice *slice, struct block b, const float *out, float *const *state)
{
    for (uint32_t i = 0; !slice->infinite_from && i < slice->job->rule->state_count; i++) {
        if (kernels_get()->finite(b.n, state[i]))
            continue;
        slice->infinite_from = slice->window.next + 1;
        slice->blame.state = true;
        find_blame(slice, b, out);
    }
}

/* At most SLICE_FOLD elements, in cache. Returns the sum of squares of the gradient's sum, where it is wanted. */
static double step_chunk(struct slice *slice, const struct commit *commit, struct block b, struct kernel_update k,
                         const float *w, float *out, bool want_gradient)
{
    const float *g = slice->mean ? slice->mean + b.at : tree_sum(slice, b.at, b.n);
    double squares = want_gradient ? kernels_get()->sum_squares(b.n, g) : 0;
    float *state[UPDATE_STATE_MAX];
    for (uint32_t i = 0; i < commit->job->rule->state_count; i++)
        state[i] = slice->state[i] + b.at;
    g = prepared(slice, commit, b, w, g, &k);
    slice_keep_run(slice, b.at, b.n);
    commit->job->rule->step(b.n, &k, w, g, state, out);
    commit_look(slice, b, out);
    look_at_state(slice, b, out, state);
    return squares;
}

struct joint commit_joint(const struct shard_job *job, uint32_t tensor)
{
    struct joint joint = joint_of(&job->constraints, &job->tensors, job->regular, tensor);
    if (job->rule->l1_inside)
        joint.here.l1 = joint.later.l1 = 0;
    return joint;
}

struct joint_steps commit_steps(struct slice *slice, const struct commit *commit, const struct kernel_update *k,
                                struct block b)
{
    const struct shard_job *job = slice->job;
    struct joint_steps steps = {.none = !(commit->eta > 0)};
    double eta = steps.none ? commit->trust[b.tensor] : rate_of(commit, b.tensor);
    steps.all = update_effective_rate(job->rule, &job->params, eta);
    if (!job->rule->rates)
        return steps;
    const float *state[UPDATE_STATE_MAX];
    for (uint32_t i = 0; i < job->rule->state_count; i++)
        state[i] = slice->state[i] + b.at;
    struct kernel_update whole = *k;
    whole.lr = (float)eta; /* a rule may have made something else of it */
    job->rule->rates(b.n, &whole, state, slice->rates);
    steps.each = slice->rates;
    return steps;
}

/* The proximal step and the projections that need no sums of the whole. */
static void finish(struct slice *slice, const struct commit *commit, const struct joint *joint,
                   const struct kernel_update *k, struct block b, float *w)
{
    struct joint_steps steps = {0};
    if (joint->here.l1 > 0 || joint->here.group > 0 || joint->has_rows)
        steps = commit_steps(slice, commit, k, b);
    joint_here(joint, &steps, b.n, w);
}

/* A commit is of the open step, or on arrival of one that is open beside it: the state at a step is final as soon as
 * the step before it is complete. */
static bool commits_open_step(const struct slice *slice, const struct commit *commit)
{
    uint64_t t = plan_at(&slice->job->plan, slice->window.next).train_step;
    return commit->part ? commit->t >= t : commit->t == t;
}

static void lamb_block(struct block b, const float *w, const float *direction, double *sums)
{
    sums[LAMB_WEIGHT] = kernels_get()->sum_squares(b.n, w);
    sums[LAMB_DIRECTION] = kernels_get()->sum_squares(b.n, direction);
}

void commit_step(struct slice *slice, const struct commit *commit, const float *w, float *out, double *report,
                 double *lamb)
{
    const struct shard_job *job = commit->job;
    double inv = slice->mean ? 1 : 1.0 / (double)commit->samples;
    struct walk walk = {.slice = slice, .merged = !report && !lamb};
    struct kernel_update k = {0};
    struct joint joint = {.tensor = UINT32_MAX};
    assert(commits_open_step(slice, commit));
    slice_keep_before(slice);
    for (struct block b; walk_next(&walk, &b);) {
        double squares = 0;
        if (b.tensor != joint.tensor) {
            k = commit_kernel(slice, commit, b.tensor);
            joint = commit_joint(job, b.tensor);
        }
        for (size_t done = 0, n; done < b.n; done += n) {
            n = MIN(b.n - done, (size_t)SLICE_FOLD);
            struct block chunk = {b.tensor, b.at + done, n};
            squares += step_chunk(slice, commit, chunk, k, w + chunk.at, out + chunk.at, report != NULL);
        }
        if (report) {
            report_block(slice, b, w + b.at, report);
            report[REPORT_GRADIENT] = squares * inv * inv;
            report += shard_job_report_values(job);
        }
        if (lamb) {
            lamb_block(b, w + b.at, out + b.at, lamb);
            lamb += LAMB_VALUES;
        } else {
            finish(slice, commit, &joint, &k, b, out + b.at);
            if (joint.has_rows)
                commit_look(slice, b, out + b.at);
        }
    }
    slice_keep_after(slice);
}

void commit_report(const struct slice *slice, const float *w, double *report)
{
    struct walk walk = {.slice = slice};
    for (struct block b; walk_next(&walk, &b); report += shard_job_report_values(slice->job)) {
        report_block(slice, b, w + b.at, report);
        report[REPORT_GRADIENT] = NAN;
    }
}

void commit_descend(struct slice *slice, const struct commit *commit, const float *w, float *out)
{
    struct walk walk = {.slice = slice};
    for (struct block b; walk_next(&walk, &b);) {
        float length = (float)rate_of(commit, b.tensor);
        struct kernel_update k = commit_kernel(slice, commit, b.tensor);
        struct joint joint = commit_joint(commit->job, b.tensor);
        kernels_get()->descend(b.n, length, w + b.at, out + b.at, out + b.at);
        finish(slice, commit, &joint, &k, b, out + b.at);
        commit_look(slice, b, out + b.at);
    }
}
