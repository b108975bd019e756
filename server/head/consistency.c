/* Consistency: which modes a running job can go on with; in the status, the mode in force, the one to come, and how
 * stale the applied gradients were. Thread: head. */
#include "server/head/consistency.h"

#include "server/dense/commit.h"
#include "server/talk/shared.h"

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* Buckets up to the last one that is not empty. */
static json_t *buckets_json(const struct staleness_counts *counts)
{
    json_t *buckets = json_array();
    uint32_t used = 0;
    for (uint32_t i = 0; i < STALENESS_BUCKETS; i++)
        used = counts->buckets[i] ? i + 1 : used;
    for (uint32_t i = 0; i < used; i++)
        json_array_append_new(buckets, count(counts->buckets[i]));
    return buckets;
}

static json_t *counts_json(const struct staleness_counts *counts)
{
    json_t *mean = counts->commits ? json_real((double)counts->sum / (double)counts->commits) : json_null();
    return json_pack("{so so so so}", "commits", count(counts->commits), "mean", mean, "max", count(counts->max),
                     "buckets", buckets_json(counts));
}

json_t *head_staleness_json(const struct shard_counters *counters)
{
    struct staleness_counts counts = {0};
    staleness_read(&counters->staleness, &counts);
    return counts_json(&counts);
}

json_t *head_staleness_total_json(const struct head *head)
{
    struct staleness_counts counts = {0};
    for (uint32_t s = 0; s < head->seats.count; s++)
        staleness_read(&seats_at(&head->seats, s)->counters->staleness, &counts);
    return counts_json(&counts);
}

/* The reason why the job commits once a step, NULL if there is none. */
static const char *why_only_bsp(const struct head *head)
{
    const struct shard_job *job = &head->job.core;
    if (job_droppable(head->opts))
        return "a step that slots may be dropped from (--drop-slowest, --on-stall drop) commits once";
    if (job->local)
        return "slots that come and go with their workers (--data-mode local) commit once a step";
    if (job_has_tables(&head->job))
        return "rows of tables commit once a step, not on arrival";
    if (!commit_may_arrive(job))
        return "its update (lars, lamb, --clip-norm or a constraint on whole vectors) needs sums over all shards of "
               "one "
               "and the same commit";
    return NULL;
}

dp_err head_consistency_check(const struct head *head, const char *text, uint32_t *ret_staleness, dp_error *err)
{
    uint32_t staleness;
    if (consistency_parse(text, &staleness, err))
        return dp_fail_in(err, "consistency");
    if (head->state != HEAD_RUNNING)
        return dp_fail(err, DP_REFUSED, "the job is not running");
    const char *why = why_only_bsp(head);
    if (why)
        return dp_fail(err, DP_USAGE, "consistency cannot be set, the job is bsp for good: %s", why);
    if (head->job.core.consistency.change_count == CONSISTENCY_CHANGES_MAX)
        return dp_fail(err, DP_BUSY, "consistency was set %d times within the steps that are open, try again",
                       CONSISTENCY_CHANGES_MAX);
    *ret_staleness = staleness;
    return DP_OK;
}

static json_t *mode_json(uint32_t staleness)
{
    char text[CONSISTENCY_TEXT_MAX];
    consistency_text(staleness, text);
    return json_string(text);
}

json_t *head_consistency_json(const struct head *head)
{
    return mode_json(consistency_at(&head->job.core.consistency, head->global_low));
}

json_t *head_consistency_next_json(const struct head *head)
{
    const struct consistency *c = &head->job.core.consistency;
    for (uint32_t i = 0; i < c->change_count; i++)
        if (c->changes[i].from > head->global_low)
            return json_pack("{so so}", "mode", mode_json(c->changes[i].staleness), "step", count(c->changes[i].from));
    return json_null();
}
