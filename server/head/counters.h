/* Counters of the shards, and of connections that were cut off. Thread: head. */
#ifndef DP_SERVER_HEAD_COUNTERS_H
#define DP_SERVER_HEAD_COUNTERS_H

#include <jansson.h>
#include <stdio.h>

struct head;

/* Counters of each shard, for the status: a new reference. */
json_t *head_shards_json(const struct head *head);
/* Connections that the gate has closed, by kind, and strangers; a new reference. */
json_t *head_gate_json(void);
/* In words. */
void head_print_counters(const struct head *head, FILE *out);

#endif
