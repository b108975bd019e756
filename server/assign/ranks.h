/* The slots of a local job (--data-mode local): who has data of its own has a slot of its own, its rank. Thread: head.
 */
#ifndef DP_SERVER_ASSIGN_RANKS_H
#define DP_SERVER_ASSIGN_RANKS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct event;
struct head;
struct member;
struct news;

struct rank {
    uint32_t holder;   /* member number, DEALER_NOBODY: none; then the slot is void */
    uint32_t last;     /* the last holder, DEALER_NOBODY before there was one */
    bool finished;     /* its data are through: void for good */
    uint64_t given_us; /* when the last holder got it */
    uint32_t stalls;   /* times in a row that the last holder was given up, having delivered nothing */
    uint64_t until_ms; /* until then it gets none, 0: it may */
};

struct ranks {
    struct rank *list; /* [slots], NULL where the job is not local */
    bool begun;        /* until then all slots are void: the others are waited for */
    uint64_t go;       /* steps before this may be committed */
    uint64_t number;   /* of the last roster that was sent */
    bool changed;      /* since then */
    uint64_t dealt_ms; /* when members last changed */
    uint64_t *ready;   /* [shard_count] steps that a shard has all of, by the roster named in */
    uint64_t *known;   /* [shard_count] */
};

/* The job is settled, and local. DP_NOMEM. */
DP_MUST_CHECK dp_err head_ranks_start(struct head *head);
void head_ranks_stop(struct head *head);
/* Whether there is a rank for one more worker, where the job has ranks. DP_BUSY, saying how to get more. */
DP_MUST_CHECK dp_err head_ranks_admit(const struct head *head, dp_error *err);
/* Members have changed. */
void head_ranks_deal(struct head *head);
/* Tells a member its slot, if it has one. */
void head_ranks_tell(struct head *head, uint32_t number);
/* The member's data are through; it is about to leave. */
void head_ranks_finish(struct head *head, const struct member *member);
/* A member is about to be lost since it delivers nothing. One that comes again at once and does so again is put off. */
void head_ranks_stalled(struct head *head, const struct member *member);
/* Members have changed, or global_low: says NEWS_OVER where all have finished and what they brought is complete. */
void head_ranks_see_end(struct head *head);
/* A shard has all of the steps before one. */
void head_ranks_on_ready(struct head *head, uint32_t shard, const struct event *event);
/* NEWS_TICK. */
void head_ranks_watch(struct head *head, const struct news *news);

#endif
