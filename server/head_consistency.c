/* Consistency in the status: the mode in force, and how stale the applied gradients were. Thread: head. */
#include "head.h"

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
    for (uint32_t p = 0; p < head->port_count; p++)
        staleness_read(&head->ports[p].counters.staleness, &counts);
    return counts_json(&counts);
}

json_t *head_consistency_json(const struct head *head)
{
    char text[CONSISTENCY_TEXT_MAX];
    consistency_text(consistency_at(&head->job.core.consistency, head->global_low), text);
    return json_string(text);
}
