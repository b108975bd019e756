/* Global rules on a shard; see phases.h. Thread: shard. */
#include "server/shard/phases.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/dense/slice.h"
#include "server/shard/slices.h"
#include "server/step/first_values.h"

dp_err phases_init(struct phases *phases, const struct shard_job *job, uint32_t slice_count)
{
    *phases = (struct phases){.needed = commit_is_global(job)};
    if (!phases->needed)
        return DP_OK;
    first_values_multipliers(job, &phases->multipliers);
    phases->pending = mem_array_zero(slice_count, sizeof *phases->pending);
    phases->pull_sums = mem_array_zero(shard_job_constraint_values(job), sizeof *phases->pull_sums);
    return phases->pending && phases->pull_sums ? DP_OK : DP_NOMEM;
}

void phases_fini(struct phases *phases, uint32_t slice_count)
{
    for (uint32_t i = 0; phases->pending && i < slice_count; i++)
        if (phases->pending[i])
            version_release(phases->pending[i]);
    free(phases->pending);
    free(phases->pull_sums);
    *phases = (struct phases){0};
}

static double ratio(double weight_squares, double other_squares, double factor)
{
    double w = sqrt(weight_squares), other = sqrt(other_squares);
    return w > 0 && other > 0 ? factor * w / other : 1;
}

static void take_norms(const struct shard_job *job, const double *totals, uint32_t values, struct commit *commit)
{
    double squares = 0;
    for (uint32_t t = 0; t < job->tensors.count; t++)
        squares += totals[(size_t)t * values + GATHER_GRADIENT];
    double clip = job->params.clip_norm, norm = sqrt(squares);
    commit->clip_scale = clip > 0 && norm > clip ? clip / norm : 1;
    for (uint32_t t = 0; job->rule == &rule_lars && t < job->tensors.count; t++) {
        const double *of = totals + (size_t)t * values;
        double w = sqrt(of[GATHER_WEIGHT]), g = sqrt(of[GATHER_GRADIENT]) * commit->clip_scale;
        commit->trust[t] = w > 0 && g > 0 ? job->params.trust * w / (g + job->regular[t].l2 * w) : 1;
    }
}

void global_take_gathered(const struct shard_job *job, const double *totals, struct commit *commit, double *pull_sums,
                          struct multipliers *multipliers)
{
    uint32_t values = commit_gather_values(job), pulled = values - GATHER_VALUES;
    double terms[CONSTRAINT_TERMS_MAX] = {0}, *term = terms;
    const double *sums = pull_sums;
    take_norms(job, totals, values, commit);
    if (pulled == 0)
        return;
    for (uint32_t v = 0; v < pulled; v++) {
        pull_sums[v] = 0;
        for (uint32_t t = 0; t < job->tensors.count; t++)
            pull_sums[v] += totals[(size_t)t * values + GATHER_VALUES + v];
    }
    for (uint32_t i = 0; i < job->constraints.count; i++) {
        const struct constraint *c = &job->constraints.list[i];
        constraint_terms(c, sums, term);
        sums += constraint_sum_count(c);
        term += constraint_term_count(c);
    }
    if (job->constraints.method == METHOD_AUGMENTED && commit->t > 0 && commit->t % job->constraints.every == 0)
        multipliers_update(multipliers, &job->constraints, terms);
    multipliers_weights(multipliers, &job->constraints, terms, commit->weights);
    commit->pull_sums = pull_sums;
}

static const struct phases_news WAIT = {.kind = PHASES_WAIT};
static const struct phases_news PUBLISHED = {.kind = PHASES_PUBLISHED};
static const struct phases_news OUT_OF_MEMORY = {.kind = PHASES_NOMEM};

static uint64_t block_count(const struct shard *shard)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        blocks += shard->slices[i].block_count;
    return blocks;
}

/* Room for `values` sums of each block. */
static double *sums_new(const struct shard *shard, uint32_t values)
{
    return mem_array_zero((size_t)block_count(shard) * values, sizeof(double));
}

static const float *theta_now(const struct slice *slice)
{
    return slice_theta(slice, slice->window.next)->theta;
}

/* Hands out sums; the pass goes on when their totals come. */
static struct phases_news wait_for(struct shard *shard, enum phases_pass pass, uint32_t values, double *sums)
{
    shard->phases.busy = true;
    shard->phases.pass = pass;
    const struct event_sums words = {shard->phases.step, shard->phases.phase, values, block_count(shard) * values,
                                     sums};
    return (struct phases_news){PHASES_SUMS, words};
}

static struct phases_news publish(struct shard *shard)
{
    struct phases *phases = &shard->phases;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct metrics metrics;
        assert(phases->pending[i] && shard->slices[i].window.next == phases->step);
        slice_publish(&shard->slices[i], phases->pending[i], &metrics);
        phases->pending[i] = NULL;
        if (i == 0)
            shard->first_metrics[phases->step % SLICE_VERSIONS] = metrics;
    }
    return PUBLISHED;
}

/* The next round of projections, or the end. */
static struct phases_news project(struct shard *shard)
{
    struct phases *phases = &shard->phases;
    uint32_t values = PROJECT_VALUES * shard->own.constraints.count;
    double *sums = sums_new(shard, values), *at = sums;
    if (!sums)
        return OUT_OF_MEMORY;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        commit_project_sums(&shard->slices[i], &phases->commit, phases->projections, phases->pending[i]->theta, at);
        at += shard->slices[i].block_count * values;
    }
    return wait_for(shard, PASS_PROJECT, values, sums);
}

static struct phases_news stepped(struct shard *shard)
{
    struct phases *phases = &shard->phases;
    bool any = false;
    for (uint32_t i = 0; i < shard->own.constraints.count; i++) {
        phases->projections[i] = commit_projection(&shard->own, i);
        any |= !phases->projections[i].done;
    }
    return any ? project(shard) : publish(shard);
}

/* Sums of the report of each slice, if the step has one. */
static bool reports_new(struct shard *shard)
{
    struct plan_step at = plan_at(&shard->own.plan, shard->phases.step);
    if (!shard_job_reports(&shard->own.plan, &at))
        return true;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        double *report =
            mem_array_zero((size_t)slice->block_count * shard_job_report_values(&shard->own), sizeof *report);
        if (!report)
            return false;
        slice->reports[shard->phases.step % SLICE_VERSIONS] = report;
    }
    return true;
}

static struct phases_news step(struct shard *shard)
{
    struct phases *phases = &shard->phases;
    bool lamb = shard->own.rule == &rule_lamb;
    double *sums = lamb ? sums_new(shard, LAMB_VALUES) : NULL, *at = sums;
    if ((lamb && !sums) || !reports_new(shard)) {
        free(sums);
        return OUT_OF_MEMORY;
    }
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        double *report = slice->reports[phases->step % SLICE_VERSIONS];
        commit_step(slice, &phases->commit, theta_now(slice), phases->pending[i]->theta, report, at);
        at = at ? at + slice->block_count * LAMB_VALUES : NULL;
    }
    if (!lamb)
        return stepped(shard);
    return wait_for(shard, PASS_LAMB, LAMB_VALUES, sums);
}

static struct phases_news gather(struct shard *shard)
{
    uint32_t values = commit_gather_values(&shard->own);
    double *sums = sums_new(shard, values), *at = sums;
    if (!sums)
        return OUT_OF_MEMORY;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        commit_gather(&shard->slices[i], &shard->phases.commit, theta_now(&shard->slices[i]), at);
        at += shard->slices[i].block_count * values;
    }
    return wait_for(shard, PASS_GATHER, values, sums);
}

static bool pending_new(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        struct version *v = versions_new(&slice->versions, slice_theta(slice, slice->window.next)->number + 1);
        if (!v)
            return false;
        shard->phases.pending[i] = v;
    }
    return true;
}

struct phases_news phases_try(struct shard *shard)
{
    struct phases *phases = &shard->phases;
    uint64_t next = shard->slices[0].window.next;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        if (shard->slices[i].window.next != next || !gate_lets_commit(shard, &shard->pieces[i]))
            return WAIT;
    if (phases->busy || phases->pending[0])
        return WAIT;
    struct plan_step at = plan_at(&shard->own.plan, next);
    phases->step = next;
    phases->phase = 0;
    phases->commit = commit_at(&shard->own, at.train_step, slice_samples(&shard->slices[0], &at));
    if (!pending_new(shard))
        return OUT_OF_MEMORY;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        slices_take_up(shard, &shard->slices[i]);
    return commit_gathers(&shard->own) ? gather(shard) : step(shard);
}

static void take_directions(struct shard *shard, const double *totals)
{
    struct phases *phases = &shard->phases;
    for (uint32_t t = 0; t < shard->own.tensors.count; t++) {
        const double *of = totals + (size_t)t * LAMB_VALUES;
        phases->commit.trust[t] = ratio(of[LAMB_WEIGHT], of[LAMB_DIRECTION], 1);
    }
    for (uint32_t i = 0; i < shard->slice_count; i++)
        commit_descend(&shard->slices[i], &phases->commit, theta_now(&shard->slices[i]), phases->pending[i]->theta);
}

struct phases_news phases_totals(struct shard *shard, uint64_t step_of, uint32_t phase, const double *totals)
{
    struct phases *phases = &shard->phases;
    if (!phases->busy || step_of != phases->step || phase != phases->phase)
        return WAIT;
    phases->busy = false;
    phases->phase++;
    switch (phases->pass) {
    case PASS_GATHER:
        global_take_gathered(&shard->own, totals, &phases->commit, phases->pull_sums, &phases->multipliers);
        return step(shard);
    case PASS_LAMB:
        take_directions(shard, totals);
        return stepped(shard);
    case PASS_PROJECT:
        if (!commit_project_round(&shard->own, phases->projections, totals))
            return project(shard);
        for (uint32_t i = 0; i < shard->slice_count; i++)
            commit_project(&shard->slices[i], &phases->commit, phases->projections, phases->pending[i]->theta);
        return publish(shard);
    }
    return WAIT;
}
