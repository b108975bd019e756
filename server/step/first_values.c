/* First values of a job; see first_values.h. Thread: any. */
#include "server/step/first_values.h"

#include <string.h>

void values_source_close(struct values_source **source)
{
    if (*source)
        (*source)->ops->close(*source);
    *source = NULL;
}

/* It stays zeros unless the rule says otherwise. */
void first_values_state(const struct shard_job *job, size_t n, const float *w, float *const *state)
{
    if (job->rule->start)
        job->rule->start(n, &job->params, w, state);
}

dp_err first_values_range(const struct shard_job *job, struct range range, float *theta, float *const *state,
                          dp_error *err)
{
    if (job->from)
        return job->from->ops->range(job->from, job, range, theta, state, err);
    tensors_init_range(&job->tensors, job->plan.seed, range.first, range.count, theta);
    first_values_state(job, (size_t)range.count, theta, state);
    return DP_OK;
}

void first_values_row(const struct shard_job *job, uint32_t tensor, uint64_t id, float *w, float *const *state)
{
    const uint32_t dim = job->tensors.list[tensor].dim;
    tensors_init_row(&job->tensors, tensor, job->plan.seed, id, w);
    for (uint32_t i = 0; i < UPDATE_STATE_MAX && i < job->rule->state_count; i++)
        memset(state[i], 0, dim * sizeof *state[i]);
    first_values_state(job, dim, w, state);
}

dp_err first_values_rows(const struct shard_job *job, uint32_t tensor, uint64_t first, uint64_t last,
                         struct rows_taker to, dp_error *err)
{
    return job->from ? job->from->ops->rows(job->from, job, tensor, first, last, to, err) : DP_OK;
}

dp_err first_values_arrivals(const struct shard_job *job, struct range range, struct first_arrivals *ret_arrivals,
                             dp_error *err)
{
    *ret_arrivals = (struct first_arrivals){0};
    return job->from && job->from->ops->arrivals ? job->from->ops->arrivals(job->from, job, range, ret_arrivals, err)
                                                 : DP_OK;
}

void first_values_multipliers(const struct shard_job *job, struct multipliers *ret_multipliers)
{
    if (job->from && job->from->ops->multipliers)
        job->from->ops->multipliers(job->from, ret_multipliers);
    else
        multipliers_start(ret_multipliers, &job->constraints);
}
