/* Commits on a slice; see commit.h. Thread: shard. */
#include "commit.h"

#include <math.h>

static bool concerns(const struct constraint *c, uint32_t tensor)
{
    return c->mask >> tensor & 1;
}

bool commit_projects_globally(const struct slice_job *job, uint32_t i)
{
    return job->constraints.method == METHOD_PROJECT && constraint_is_global(&job->constraints.list[i]);
}

static bool pulls(const struct slice_job *job)
{
    return job->constraints.method != METHOD_PROJECT && job->constraints.count > 0;
}

bool commit_gathers(const struct slice_job *job)
{
    bool terms = false;
    for (uint32_t i = 0; i < job->constraints.count; i++)
        terms |= pulls(job) && constraint_is_global(&job->constraints.list[i]);
    return job->params.clip_norm > 0 || job->rule == &rule_lars || terms;
}

bool commit_is_global(const struct slice_job *job)
{
    bool global = commit_gathers(job) || job->rule->layerwise;
    for (uint32_t i = 0; i < job->constraints.count; i++)
        global |= commit_projects_globally(job, i);
    return global;
}

bool commit_may_arrive(const struct slice_job *job)
{
    return job->rule->part && !commit_is_global(job);
}

uint32_t commit_constraint_values(const struct slice_job *job)
{
    uint32_t values = 0;
    for (uint32_t i = 0; i < job->constraints.count; i++)
        values += constraint_sum_count(&job->constraints.list[i]);
    return values;
}

uint32_t commit_gather_values(const struct slice_job *job)
{
    return GATHER_VALUES + (pulls(job) ? commit_constraint_values(job) : 0);
}

uint32_t commit_report_values(const struct slice_job *job)
{
    return REPORT_VALUES + commit_constraint_values(job);
}

bool commit_reports(const struct plan *plan, const struct plan_step *at)
{
    uint64_t next = at->train_step + 1;
    return at->kind == PLAN_TRAIN && (next % plan_steps_per_epoch(plan) == 0 || next == plan->train_steps);
}

struct commit commit_at(const struct slice_job *job, uint64_t t, uint64_t samples)
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

struct commit commit_part_at(const struct slice_job *job, uint64_t t, uint64_t samples, const struct update_part *part)
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

struct block {
    uint32_t tensor;
    uint64_t at; /* in the slice */
    size_t n;
};

/* The first block of a slice, and each that follows; false at the end. Where no sums are kept by block, as many blocks
 * of a tensor as fit in cache are one: small tensors have blocks of few elements. */
struct walk {
    const struct slice *slice;
    bool merged;
    uint32_t segment;
    uint64_t done; /* elements of the segment */
};

static bool walk_next(struct walk *walk, struct block *ret_block)
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

/* What all constraints need to know of a block of theta, added to sums. */
static void add_constraint_sums(const struct slice *slice, struct block b, const float *w, double *sums)
{
    const struct slice_job *job = slice->job;
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
            const float *g = slice_fold(slice, b.at + done, n);
            mean_of(commit, (float)(1.0 / (double)commit->samples), n, g, slice->mean + b.at + done);
        }
        sums[GATHER_GRADIENT] = kernels_get()->sum_squares(b.n, slice->mean + b.at);
        sums[GATHER_WEIGHT] = kernels_get()->sum_squares(b.n, w + b.at);
        if (pulls(commit->job))
            add_constraint_sums(slice, b, w + b.at, sums + GATHER_VALUES);
    }
}

/* ---- the step ---- */

/* The kernel's numbers for a tensor; the mean gradient may have been gathered before. */
static struct kernel_update kernel_of(const struct slice *slice, const struct commit *commit, uint32_t tensor)
{
    const struct slice_job *job = commit->job;
    if (commit->part)
        return update_part_at(job->rule, &job->params, &job->regular[tensor], commit->t, commit->samples, commit->part);
    struct kernel_update k = update_at(job->rule, &job->params, &job->regular[tensor], commit->t, commit->samples);
    if (slice->mean)
        k.inv_count = (float)commit->clip_scale;
    if (job->rule == &rule_lars)
        k.lr = (float)(commit->eta * commit->trust[tensor]);
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
    k->inv_count = (float)commit->gain;
    return slice->prepared;
}

/* At most SLICE_FOLD elements, in cache. Returns the sum of squares of the gradient's sum, where it is wanted. */
static double step_chunk(struct slice *slice, const struct commit *commit, struct block b, struct kernel_update k,
                         const float *w, float *out, bool want_gradient)
{
    const float *g = slice->mean ? slice->mean + b.at : slice_fold(slice, b.at, b.n);
    double squares = want_gradient ? kernels_get()->sum_squares(b.n, g) : 0;
    float *state[UPDATE_STATE_MAX];
    for (uint32_t i = 0; i < commit->job->rule->state_count; i++)
        state[i] = slice->state[i] + b.at;
    g = prepared(slice, commit, b, w, g, &k);
    commit->job->rule->step(b.n, &k, w, g, state, out);
    if (!slice->infinite_from && !floats_finite(b.n, out))
        slice->infinite_from = slice->window.next + 1;
    return squares;
}

static void prox(struct slice *slice, const struct commit *commit, struct block b, const struct kernel_update *k,
                 float *w)
{
    const struct slice_job *job = commit->job;
    const struct regular *regular = &job->regular[b.tensor];
    if (job->rule->l1_inside || (regular->l1 <= 0 && regular->group <= 0))
        return;
    if (!job->rule->adaptive) {
        prox_uniform(regular, update_effective_rate(job->rule, &job->params, commit->eta), b.n, w);
        return;
    }
    float *state[UPDATE_STATE_MAX];
    for (uint32_t i = 0; i < job->rule->state_count; i++)
        state[i] = slice->state[i] + b.at;
    struct kernel_update whole = *k;
    whole.lr = (float)commit->eta; /* a rule may have made something else of it */
    job->rule->rates(b.n, &whole, state, slice->rates);
    prox_by_rate(regular, slice->rates, b.n, w);
}

static void lamb_block(struct block b, const float *w, const float *direction, double *sums)
{
    sums[LAMB_WEIGHT] = kernels_get()->sum_squares(b.n, w);
    sums[LAMB_DIRECTION] = kernels_get()->sum_squares(b.n, direction);
}

void commit_step(struct slice *slice, const struct commit *commit, const float *w, float *out, double *report,
                 double *lamb)
{
    const struct slice_job *job = commit->job;
    double inv = slice->mean ? 1 : 1.0 / (double)commit->samples;
    struct walk walk = {.slice = slice, .merged = !report && !lamb};
    struct kernel_update k = {0};
    uint32_t tensor = UINT32_MAX;
    for (struct block b; walk_next(&walk, &b);) {
        double squares = 0;
        if (b.tensor != tensor)
            k = kernel_of(slice, commit, b.tensor);
        tensor = b.tensor;
        for (size_t done = 0, n; done < b.n; done += n) {
            n = MIN(b.n - done, (size_t)SLICE_FOLD);
            struct block chunk = {b.tensor, b.at + done, n};
            squares += step_chunk(slice, commit, chunk, k, w + chunk.at, out + chunk.at, report != NULL);
        }
        if (report) {
            report_block(slice, b, w + b.at, report);
            report[REPORT_GRADIENT] = squares * inv * inv;
            report += commit_report_values(job);
        }
        if (lamb) {
            lamb_block(b, w + b.at, out + b.at, lamb);
            lamb += LAMB_VALUES;
        } else {
            prox(slice, commit, b, &k, out + b.at);
            constraints_project(&job->constraints, &job->tensors, b.tensor, b.n, out + b.at);
        }
    }
}

void commit_report(const struct slice *slice, const float *w, double *report)
{
    struct walk walk = {.slice = slice};
    for (struct block b; walk_next(&walk, &b); report += commit_report_values(slice->job)) {
        report_block(slice, b, w + b.at, report);
        report[REPORT_GRADIENT] = NAN;
    }
}

void commit_descend(struct slice *slice, const struct commit *commit, const float *w, float *out)
{
    struct walk walk = {.slice = slice};
    for (struct block b; walk_next(&walk, &b);) {
        float length = (float)(commit->eta * commit->trust[b.tensor]);
        kernels_get()->descend(b.n, length, w + b.at, out + b.at, out + b.at);
        constraints_project(&commit->job->constraints, &commit->job->tensors, b.tensor, b.n, out + b.at);
    }
}

/* ---- projections on whole vectors ---- */

void commit_project_sums(struct slice *slice, const struct projection *projections, const float *w, double *sums)
{
    const struct slice_job *job = slice->job;
    struct walk walk = {.slice = slice};
    for (struct block b; walk_next(&walk, &b); sums += (size_t)PROJECT_VALUES * job->constraints.count)
        for (uint32_t i = 0; i < job->constraints.count; i++) {
            const struct constraint *c = &job->constraints.list[i];
            const struct projection *p = &projections[i];
            double first[CONSTRAINT_TERMS_MAX] = {0}, *to = sums + (size_t)PROJECT_VALUES * i;
            if (p->done || !concerns(c, b.tensor))
                continue;
            if (p->started) {
                sums_above(b.n, w + b.at, p->threshold.theta, c->kind == CONSTRAINT_L1_BALL, to);
                continue;
            }
            constraint_sums(c, slice->range.first + b.at, 1, b.n, w + b.at, first);
            to[0] = first[0];
        }
}

static void projection_start(const struct constraint *c, struct projection *p, double total)
{
    double gap;
    *p = (struct projection){.factor = 1, .started = true, .done = true};
    switch (c->kind) {
    case CONSTRAINT_L2_BALL:
        p->factor = project_ball_factor(total, c->arg);
        break;
    case CONSTRAINT_SUM:
        p->shift = (c->arg - total) / c->elems;
        break;
    case CONSTRAINT_LINEAR:
        gap = total - c->linear.rows[0].bound;
        p->shift = gap > 0 || c->linear.rows[0].equality ? -gap / c->linear.rows[0].squares : 0;
        break;
    default:
        michelot_start(&p->threshold, c->arg, total, c->elems, c->kind == CONSTRAINT_L1_BALL);
        p->done = p->threshold.done;
        break;
    }
}

/* Adds up what the tensors of a constraint come to; totals[tensor][constraint][PROJECT_VALUES]. */
static double total_of(const struct slice_job *job, const double *totals, uint32_t constraint, uint32_t value)
{
    double sum = 0;
    for (uint32_t t = 0; t < job->tensors.count; t++)
        if (concerns(&job->constraints.list[constraint], t))
            sum += totals[((size_t)t * job->constraints.count + constraint) * PROJECT_VALUES + value];
    return sum;
}

bool commit_project_round(const struct slice_job *job, struct projection *projections, const double *totals)
{
    bool done = true;
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        struct projection *p = &projections[i];
        if (p->done)
            continue;
        if (p->started) {
            michelot_round(&p->threshold, total_of(job, totals, i, 0), total_of(job, totals, i, 1));
            p->done = p->threshold.done;
        } else {
            projection_start(&job->constraints.list[i], p, total_of(job, totals, i, 0));
        }
        done &= p->done;
    }
    return done;
}

static void apply(const struct slice *slice, const struct constraint *c, const struct projection *p, struct block b,
                  float *w)
{
    double weight = p->shift, none = 0;
    switch (c->kind) {
    case CONSTRAINT_L2_BALL:
        if (p->factor < 1)
            kernels_get()->scale(b.n, (float)p->factor, w);
        break;
    case CONSTRAINT_SUM:
        project_shift(b.n, p->shift, w);
        break;
    case CONSTRAINT_LINEAR:
        constraint_pull(c, slice->range.first + b.at, b.n, w, &none, &weight, 0, w);
        break;
    case CONSTRAINT_L1_BALL:
        if (p->threshold.theta > 0)
            lower_by(b.n, p->threshold.theta, true, w);
        break;
    default:
        lower_by(b.n, p->threshold.theta, false, w);
        break;
    }
}

void commit_project(struct slice *slice, const struct projection *projections, float *w)
{
    const struct slice_job *job = slice->job;
    struct walk walk = {.slice = slice};
    for (struct block b; walk_next(&walk, &b);)
        for (uint32_t i = 0; i < job->constraints.count; i++)
            if (commit_projects_globally(job, i) && concerns(&job->constraints.list[i], b.tensor))
                apply(slice, &job->constraints.list[i], &projections[i], b, w + b.at);
}
