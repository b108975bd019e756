/* Facts of a job; see job.h. */
#include "server/step/job.h"

struct metrics metrics_add(struct metrics a, struct metrics b)
{
    return (struct metrics){a.count + b.count, a.loss + b.loss, a.correct + b.correct};
}

static struct metrics sum_below(const struct steps *window, const char *nodes, size_t stride, uint32_t node)
{
    if (steps_present(window, window->next, node))
        return *(const struct metrics *)(const void *)(nodes + node * stride);
    if (node >= window->leaves)
        return (struct metrics){0};
    struct metrics left = sum_below(window, nodes, stride, 2 * node);
    struct metrics right = sum_below(window, nodes, stride, 2 * node + 1);
    return left.count == 0 ? right : right.count == 0 ? left : metrics_add(left, right);
}

struct metrics metrics_sum(const struct steps *window, const struct metrics *nodes, size_t stride_bytes)
{
    return sum_below(window, (const char *)nodes, stride_bytes, 1);
}

uint32_t shard_job_staleness(const struct shard_job *job, uint64_t step)
{
    return plan_question(&job->plan, step)->commits ? consistency_at(&job->consistency, step) : 0;
}

uint32_t shard_job_constraint_values(const struct shard_job *job)
{
    uint32_t values = 0;
    for (uint32_t i = 0; i < job->constraints.count; i++)
        values += constraint_sum_count(&job->constraints.list[i]);
    return values;
}

uint32_t shard_job_report_values(const struct shard_job *job)
{
    return REPORT_VALUES + shard_job_constraint_values(job);
}

bool shard_job_reports(const struct plan *plan, const struct plan_step *at)
{
    uint64_t next = at->train_step + 1;
    return at->asks->counts && (next % plan_steps_per_epoch(plan) == 0 || next == plan->train_steps);
}
