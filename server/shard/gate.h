/* The gate: when a shard may commit a step. There are four answers:
 *   free      a step commits once it is complete
 *   barrier   no step from the barrier on commits until a setting is known on all shards (control.h)
 *   roster    with data of the workers' own (--data-mode local) a step commits after the head's GO
 *   drop      the same if slots may be left out of a step (--drop-slowest, --on-stall drop)
 *
 * A roster says which slots of a job have a worker that computes them: the slot of a worker that left, or is not there
 * yet, is void, and no step waits for it. It holds from a step on, the same on all shards (DESIGN rule 3). The head
 * says GO once all shards have told that all slots that the roster wants of the step are there. So the first step
 * without a GO, from which the head's next roster holds, has been committed by no shard; what had arrived for a slot
 * that becomes void there is dropped on all of them alike.
 *
 * If slots may be left out, no slot is void for longer than the one step that the head, having heard from all shards
 * what each is owed of it, leaves it out of. A push that comes for it later is a duplicate.
 *
 * Invariants:
 *   1. A shard that has not been given a GO for a step has not committed it.
 *   2. A step whose slots are all void is not complete.
 *   3. The shard's word `ready` carries the number of the roster that it has counted by, so that the head knows which
 *      words are from before it changed its mind.
 * Thread: shard. */
#ifndef DP_SERVER_SHARD_GATE_H
#define DP_SERVER_SHARD_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct shard;
struct piece;

struct gate {
    uint64_t barrier;       /* no step from here on is committed, or opened on arrival; UINT64_MAX: none */
    bool on;                /* the head says GO for each step; else no slot is void */
    uint64_t go;            /* steps before this one may be committed */
    uint64_t number;        /* of the roster in force */
    uint8_t *live;          /* [slots] of it */
    uint64_t coming_number; /* of the last one that was sent; in force once all pieces are at `go` */
    uint8_t *coming;        /* [slots] of it */
    uint64_t told_ready;    /* the last word to the head */
    uint64_t told_number;
    bool told_few;      /* since the head last asked */
    uint64_t drop_step; /* the last step that slots were left out of, and how many */
    uint32_t drop_count;
};

/* A gate that is free. */
void gate_init(struct gate *gate);
/* The head says GO, from step `first` on, for rosters of `slots` slots, at first all void. DP_NOMEM. */
DP_MUST_CHECK dp_err gate_attend(struct gate *gate, uint32_t slots, uint64_t first);
void gate_fini(struct gate *gate);

/* Whether a step that is complete may be committed. */
bool gate_lets(const struct gate *gate, uint64_t step);
/* The same of the piece's open step; false if it is not ready, or the shard has failed. */
bool gate_lets_commit(const struct shard *shard, const struct piece *piece);
/* Steps before `go` may be committed. */
void gate_go(struct gate *gate, uint64_t go);
/* The head has asked: words about few owed slots are told again when more has come. */
void gate_asked(struct gate *gate);
/* Number of slots that were left out of the step, which is the last one committed. */
uint32_t gate_dropped(const struct gate *gate, uint64_t step);

/* ---- of a shard whose gate waits for the head ---- */

/* Roster `number` holds from step `go` on. `live[slots]` is borrowed for the call. */
void gate_roster(struct shard *shard, uint64_t number, const uint8_t *live);
/* Slots that are not in live[slots] are left out of `step`, which all shards are at and which may now be committed.
 * Borrowed for the call. The shard commits what it can next. */
void gate_drop(struct shard *shard, uint64_t step, const uint8_t *live, uint32_t count);
/* Something has arrived or was committed: takes up the roster that is coming, if it is time, and tells the head which
 * steps are ready. */
void gate_look(struct shard *shard);

#endif
