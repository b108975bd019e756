/* Which slots of a job have somebody who computes them, where workers have data of their own (--data-mode local): the
 * slot of a worker that left, or is not there yet, is void, and nobody waits for it.
 *
 * A roster holds from a step on, the same on all shards (DESIGN rule 3). To that end a shard commits a step only once
 * the head has said `go`: which it does when all shards have told that what the roster wants of the step is there. So
 * what the head's next roster holds from, the first step without a go, has been committed by no shard; what had arrived
 * for a slot that becomes void there is dropped on all of them alike.
 *
 * The same holds where all workers have the same data but slots may be dropped (--drop-slowest, --on-stall drop): there
 * no slot is void for longer than the one step that the head, having heard from all shards what each is owed of it,
 * leaves it out of. What comes for it later is a duplicate.
 *
 * Invariants: a shard that has not been given a go for a step has not committed it. A step with no slot that is not
 * void is not complete. What a shard tells carries the number of the roster that it has counted by, so that the head
 * knows what was told before it changed its mind. Thread: shard. */
#ifndef DP_SERVER_SHARD_ROSTER_H
#define DP_SERVER_SHARD_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct shard;

struct roster {
    bool on;                /* else every step may go, and no slot is void */
    uint64_t go;            /* steps before this one may be committed */
    uint64_t number;        /* of the roster in force */
    uint8_t *live;          /* [slots] of it */
    uint64_t coming_number; /* of the last one that was sent; in force once all slices are at `go` */
    uint8_t *coming;        /* [slots] of it */
    uint64_t told_ready;    /* what the head was told last */
    uint64_t told_number;
    bool told_few;      /* since the head last asked */
    uint64_t drop_step; /* the last step that slots were left out of, and how many */
    uint32_t drop_count;
};

/* Rosters of `slots` slots, at first all void. DP_NOMEM. */
DP_MUST_CHECK dp_err roster_init(struct roster *roster, uint32_t slots);
void roster_fini(struct roster *roster);
bool roster_lets_go(const struct roster *roster, uint64_t step);

/* ---- of a shard, whose roster is on ---- */

/* Roster `number` holds from step `go` on. `live[slots]` is borrowed for the call. */
void roster_take(struct shard *shard, uint64_t number, const uint8_t *live);
/* Something has arrived or was committed: takes up the roster that is coming, if it is time, and tells the head what is
 * there. */
void roster_look(struct shard *shard);
/* Slots that are not in live[slots] are left out of `step`, which all shards are at and which may now be committed.
 * Borrowed for the call. */
void roster_drop(struct shard *shard, uint64_t step, const uint8_t *live, uint32_t count);
/* How many slots were left out of the step, which is the last one committed. */
uint32_t roster_dropped(const struct roster *roster, uint64_t step);
/* The head asks what is owed: it is told again when more has come. */
void roster_asked(struct roster *roster);

#endif
