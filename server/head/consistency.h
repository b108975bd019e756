/* Consistency: which modes a running job can go on with, and how stale the applied gradients were. Thread: head. */
#ifndef DP_SERVER_HEAD_CONSISTENCY_H
#define DP_SERVER_HEAD_CONSISTENCY_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct head;
struct shard_counters;

/* Whether the job can go on with another mode. DP_USAGE, DP_REFUSED. */
DP_MUST_CHECK dp_err head_consistency_check(const struct head *head, const char *text, uint32_t *ret_staleness,
                                            dp_error *err);
/* The mode in force, the one that a later step begins, and the staleness of one shard's or of all commits: new
 * references. */
json_t *head_consistency_json(const struct head *head);
json_t *head_consistency_next_json(const struct head *head);
json_t *head_staleness_json(const struct shard_counters *counters);
json_t *head_staleness_total_json(const struct head *head);

#endif
