/* Projections on whole vectors, which shards share: rounds of sums, until each constraint knows its projection. With
 * one step size for all coordinates, and without regularizers that bear on it, that is the Euclidean one; else the
 * multiplier is searched for (common/terms/joint.h), from theta as the rule's step left it. Thread: shard. */
#include "server/dense/commit_project.h"

#include "server/dense/commit_impl.h"

#include "common/terms/joint_whole.h"

static bool concerns(const struct constraint *c, uint32_t tensor)
{
    return c->mask >> tensor & 1;
}

/* Whether the step sizes of a constraint's coordinates differ. LARS's do by tensor. */
static bool scales(const struct shard_job *job, const struct constraint *c)
{
    uint32_t tensors = 0;
    for (uint32_t t = 0; t < job->tensors.count; t++)
        tensors += concerns(c, t);
    return job->rule->rates || (job->rule->layerwise && tensors > 1);
}

struct projection commit_projection(const struct shard_job *job, uint32_t i)
{
    struct projection p = {.done = !commit_projects_globally(job, i)};
    if (!p.done)
        p.searches =
            scales(job, &job->constraints.list[i]) || joint_is_left(&job->constraints, &job->tensors, job->regular, i);
    return p;
}

/* Adds the sums of a block for one constraint. */
static void add_sums(struct slice *slice, const struct constraint *c, const struct projection *p,
                     const struct joint *joint, const struct joint_steps *steps, struct block b, const float *w,
                     double *to)
{
    double first[CONSTRAINT_TERMS_MAX] = {0};
    if (p->searches) {
        joint_sums(joint, c, &p->search, steps, slice->range.first + b.at, b.n, w, to);
    } else if (p->started) {
        sums_above(b.n, w, p->threshold.theta, c->kind == CONSTRAINT_L1_BALL, to);
    } else {
        constraint_sums(c, slice->range.first + b.at, 1, b.n, w, first);
        to[0] = first[0];
    }
}

/* The numbers that a block's constraints need; those of a tensor are kept from block to block. */
struct going {
    struct kernel_update k;
    struct joint joint;
    struct joint_steps steps;
    bool searches;
};

static void going_to(struct going *going, struct slice *slice, const struct commit *commit,
                     const struct projection *projections, struct block b)
{
    const struct shard_job *job = slice->job;
    if (b.tensor != going->joint.tensor) {
        going->k = commit_kernel(slice, commit, b.tensor);
        going->joint = commit_joint(job, b.tensor);
        going->searches = false;
        for (uint32_t i = 0; i < job->constraints.count; i++)
            going->searches |= projections[i].searches && concerns(&job->constraints.list[i], b.tensor);
    }
    if (going->searches)
        going->steps = commit_steps(slice, commit, &going->k, b);
}

void commit_project_sums(struct slice *slice, const struct commit *commit, const struct projection *projections,
                         const float *w, double *sums)
{
    const struct shard_job *job = slice->job;
    struct walk walk = {.slice = slice};
    struct going going = {.joint.tensor = UINT32_MAX};
    for (struct block b; walk_next(&walk, &b); sums += (size_t)PROJECT_VALUES * job->constraints.count) {
        going_to(&going, slice, commit, projections, b);
        for (uint32_t i = 0; i < job->constraints.count; i++)
            if (!projections[i].done && concerns(&job->constraints.list[i], b.tensor))
                add_sums(slice, &job->constraints.list[i], &projections[i], &going.joint, &going.steps, b, w + b.at,
                         sums + (size_t)PROJECT_VALUES * i);
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
static double total_of(const struct shard_job *job, const double *totals, uint32_t constraint, uint32_t value)
{
    double sum = 0;
    for (uint32_t t = 0; t < job->tensors.count; t++)
        if (concerns(&job->constraints.list[constraint], t))
            sum += totals[((size_t)t * job->constraints.count + constraint) * PROJECT_VALUES + value];
    return sum;
}

static void take(const struct shard_job *job, uint32_t i, struct projection *p, const double *totals)
{
    const struct constraint *c = &job->constraints.list[i];
    double sums[PROJECT_VALUES];
    for (uint32_t v = 0; v < PROJECT_VALUES; v++)
        sums[v] = total_of(job, totals, i, v);
    if (p->searches) {
        joint_round(c, &p->search, sums);
        p->done = p->search.done;
    } else if (p->started) {
        michelot_round(&p->threshold, sums[0], sums[1]);
        p->done = p->threshold.done;
    } else {
        projection_start(c, p, sums[0]);
    }
}

bool commit_project_round(const struct shard_job *job, struct projection *projections, const double *totals)
{
    bool done = true;
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        if (!projections[i].done)
            take(job, i, &projections[i], totals);
        done &= projections[i].done;
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

void commit_project(struct slice *slice, const struct commit *commit, const struct projection *projections, float *w)
{
    const struct shard_job *job = slice->job;
    struct walk walk = {.slice = slice};
    struct going going = {.joint.tensor = UINT32_MAX};
    for (struct block b; walk_next(&walk, &b);) {
        going_to(&going, slice, commit, projections, b);
        for (uint32_t i = 0; i < job->constraints.count; i++) {
            const struct constraint *c = &job->constraints.list[i];
            if (!commit_projects_globally(job, i) || !concerns(c, b.tensor))
                continue;
            if (projections[i].searches)
                joint_apply(&going.joint, c, &projections[i].search, &going.steps, slice->range.first + b.at, b.n,
                            w + b.at);
            else
                apply(slice, c, &projections[i], b, w + b.at);
        }
        commit_look(slice, b, w + b.at);
    }
}
