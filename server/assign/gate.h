/* The gate: when a step may be committed. A job has one policy: free (the shards commit what they have all of), by
 * roster (slots come and go with their workers, ranks.h), or by drop (slots may be left out, drop.h). Thread: head. */
#ifndef DP_SERVER_ASSIGN_GATE_H
#define DP_SERVER_ASSIGN_GATE_H

#include <stdint.h>

#include "common/base/dp_err.h"

struct event;
struct head;

/* The job is settled. DP_NOMEM. */
DP_MUST_CHECK dp_err head_gate_start(struct head *head);
/* It is no longer. */
void head_gate_stop(struct head *head);
/* A shard has all of the steps before one; is owed few slots of one. */
void head_gate_on_ready(struct head *head, uint32_t shard, const struct event *event);
void head_gate_on_few(struct head *head, uint32_t shard, const struct event *event);
/* The open step has waited for the stall time-out. */
void head_gate_on_stall(struct head *head);

#endif
