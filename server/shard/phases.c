/* Global rules on a shard; see phases.h. Thread: shard. */
#include "server/shard/phases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/shard/shard.h"

dp_err global_init(struct global *global, const struct shard_job *job, uint32_t slice_count)
{
    *global = (struct global){.needed = commit_is_global(job)};
    if (!global->needed)
        return DP_OK;
    multipliers_start(&global->multipliers, &job->constraints);
    global->pending = mem_array_zero(slice_count, sizeof *global->pending);
    global->pull_sums = mem_array_zero(shard_job_constraint_values(job), sizeof *global->pull_sums);
    return global->pending && global->pull_sums ? DP_OK : DP_NOMEM;
}

void global_fini(struct global *global, uint32_t slice_count)
{
    for (uint32_t i = 0; global->pending && i < slice_count; i++)
        if (global->pending[i])
            version_release(global->pending[i]);
    free(global->pending);
    free(global->pull_sums);
    *global = (struct global){0};
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

static void fail(struct shard *shard)
{
    dp_error err;
    (void)dp_fail(&err, DP_NOMEM, "out of memory for the commit of step %llu", (unsigned long long)shard->global.step);
    shard_fail(shard, &err);
}

static uint64_t block_count(const struct shard *shard)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        blocks += shard->slices[i].block_count;
    return blocks;
}

/* Room for `values` sums of each block; NULL when out of memory (the head was told). */
static double *sums_new(struct shard *shard, uint32_t values)
{
    double *sums = mem_array_zero((size_t)block_count(shard) * values, sizeof *sums);
    if (!sums)
        fail(shard);
    return sums;
}

static const float *theta_now(const struct slice *slice)
{
    return slice_theta(slice, slice->window.next)->theta;
}

/* Hands sums to the head; the pass goes on when totals come. */
static void send(struct shard *shard, enum global_pass pass, uint32_t values, double *sums)
{
    struct global *global = &shard->global;
    global->busy = true;
    global->pass = pass;
    shard_sums(shard, &(struct event_sums){global->step, global->phase, values, block_count(shard) * values, sums});
}

static bool publish(struct shard *shard)
{
    struct global *global = &shard->global;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct metrics metrics;
        slice_publish(&shard->slices[i], global->pending[i], &metrics);
        global->pending[i] = NULL;
        if (i == 0)
            shard->first_metrics[global->step % SLICE_VERSIONS] = metrics;
    }
    return true;
}

/* The next round of projections, or the end. */
static bool project(struct shard *shard)
{
    struct global *global = &shard->global;
    uint32_t values = PROJECT_VALUES * shard->own.constraints.count;
    double *sums = sums_new(shard, values), *at = sums;
    if (!sums)
        return false;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        commit_project_sums(&shard->slices[i], &global->commit, global->projections, global->pending[i]->theta, at);
        at += shard->slices[i].block_count * values;
    }
    send(shard, PASS_PROJECT, values, sums);
    return false;
}

static bool stepped(struct shard *shard)
{
    struct global *global = &shard->global;
    bool any = false;
    for (uint32_t i = 0; i < shard->own.constraints.count; i++) {
        global->projections[i] = commit_projection(&shard->own, i);
        any |= !global->projections[i].done;
    }
    return any ? project(shard) : publish(shard);
}

/* Sums of the report of each slice, if the step has one. */
static bool reports_new(struct shard *shard)
{
    struct plan_step at = plan_at(&shard->own.plan, shard->global.step);
    if (!shard_job_reports(&shard->own.plan, &at))
        return true;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        double *report =
            mem_array_zero((size_t)slice->block_count * shard_job_report_values(&shard->own), sizeof *report);
        if (!report) {
            fail(shard);
            return false;
        }
        slice->reports[shard->global.step % SLICE_VERSIONS] = report;
    }
    return true;
}

static bool step(struct shard *shard)
{
    struct global *global = &shard->global;
    bool lamb = shard->own.rule == &rule_lamb;
    double *sums = lamb ? sums_new(shard, LAMB_VALUES) : NULL, *at = sums;
    if ((lamb && !sums) || !reports_new(shard)) {
        free(sums);
        return false;
    }
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        double *report = slice->reports[global->step % SLICE_VERSIONS];
        commit_step(slice, &global->commit, theta_now(slice), global->pending[i]->theta, report, at);
        at = at ? at + slice->block_count * LAMB_VALUES : NULL;
    }
    if (!lamb)
        return stepped(shard);
    send(shard, PASS_LAMB, LAMB_VALUES, sums);
    return false;
}

static bool gather(struct shard *shard)
{
    uint32_t values = commit_gather_values(&shard->own);
    double *sums = sums_new(shard, values), *at = sums;
    if (!sums)
        return false;
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        commit_gather(&shard->slices[i], &shard->global.commit, theta_now(&shard->slices[i]), at);
        at += shard->slices[i].block_count * values;
    }
    send(shard, PASS_GATHER, values, sums);
    return false;
}

static bool versions_new(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slice_count; i++) {
        struct slice *slice = &shard->slices[i];
        struct version *v = slice_version_new(slice, slice_theta(slice, slice->window.next)->number + 1);
        if (!v) {
            fail(shard);
            return false;
        }
        shard->global.pending[i] = v;
    }
    return true;
}

bool global_try(struct shard *shard)
{
    struct global *global = &shard->global;
    uint64_t next = shard->slices[0].window.next;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        if (shard->slices[i].window.next != next || !shard_may_commit(shard, &shard->slices[i]))
            return false;
    if (global->busy || global->pending[0])
        return false;
    struct plan_step at = plan_at(&shard->own.plan, next);
    global->step = next;
    global->phase = 0;
    global->commit = commit_at(&shard->own, at.train_step, slice_samples(&shard->slices[0], &at));
    if (!versions_new(shard))
        return false;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        shard_take_up(shard, &shard->slices[i]);
    return commit_gathers(&shard->own) ? gather(shard) : step(shard);
}

static void take_directions(struct shard *shard, const double *totals)
{
    struct global *global = &shard->global;
    for (uint32_t t = 0; t < shard->own.tensors.count; t++) {
        const double *of = totals + (size_t)t * LAMB_VALUES;
        global->commit.trust[t] = ratio(of[LAMB_WEIGHT], of[LAMB_DIRECTION], 1);
    }
    for (uint32_t i = 0; i < shard->slice_count; i++)
        commit_descend(&shard->slices[i], &global->commit, theta_now(&shard->slices[i]), global->pending[i]->theta);
}

bool global_totals(struct shard *shard, uint64_t step_of, uint32_t phase, const double *totals)
{
    struct global *global = &shard->global;
    if (!global->busy || step_of != global->step || phase != global->phase)
        return false;
    global->busy = false;
    global->phase++;
    switch (global->pass) {
    case PASS_GATHER:
        global_take_gathered(&shard->own, totals, &global->commit, global->pull_sums, &global->multipliers);
        return step(shard);
    case PASS_LAMB:
        take_directions(shard, totals);
        return stepped(shard);
    case PASS_PROJECT:
        if (!commit_project_round(&shard->own, global->projections, totals))
            return project(shard);
        for (uint32_t i = 0; i < shard->slice_count; i++)
            commit_project(&shard->slices[i], &global->commit, global->projections, global->pending[i]->theta);
        return publish(shard);
    }
    return false;
}
