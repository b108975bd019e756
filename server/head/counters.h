/* What the shards have done so far, and whom the gate has cut off. Thread: head. */
#ifndef DP_SERVER_HEAD_COUNTERS_H
#define DP_SERVER_HEAD_COUNTERS_H

#include <jansson.h>
#include <stdio.h>

struct head;

/* Of each shard, for the status: a new reference. */
json_t *head_shards_json(const struct head *head);
/* Connections that the gate has closed, by kind, and strangers; a new reference. */
json_t *head_gate_json(void);
/* In words. */
void head_print_counters(const struct head *head, FILE *out);

#endif
