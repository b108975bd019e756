/* Steps that slots may be left out of. Thread: head. */
#ifndef DP_SERVER_ASSIGN_DROP_H
#define DP_SERVER_ASSIGN_DROP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct event;
struct head;
struct news;

struct drop {
    uint64_t go;     /* steps before this may be committed */
    uint64_t *ready; /* [shard_count] steps that a shard has all of; NULL where nothing can be dropped */
    uint64_t *few;   /* [shard_count] 1 + the last step of which a shard was owed few enough */
    bool *last;      /* [slots] what was dropped last */
    bool again;      /* more has come since the shards were asked what they are owed */
    bool stalled;    /* they are asked since the step stalls */
    uint64_t late;   /* when this step opens, the workers of the last dropped slots are told; 0: they have been */
    uint64_t steps, slots, samples; /* so far: with dropped slots, and what was dropped */
};

/* The job is settled, and slots may be dropped. DP_NOMEM. */
DP_MUST_CHECK dp_err head_drop_start(struct head *head);
void head_drop_stop(struct head *head);
/* A shard has all of the steps before one; it is owed few slots of a step. */
void head_drop_on_ready(struct head *head, uint32_t shard, const struct event *event);
void head_drop_on_few(struct head *head, uint32_t shard, uint64_t step);
/* The open step has waited for the stall time-out. */
void head_drop_on_stall(struct head *head);
/* NEWS_STEP; called before the next step's slots are dealt. */
void head_drop_step(struct head *head, const struct news *news);
json_t *head_drop_json(const struct head *head);

#endif
