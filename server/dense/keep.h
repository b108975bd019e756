/* A slice as it is at one step, for a checkpoint, while training goes on: theta is a version that is held, and the
 * optimizer's state is copied before its first change after that.
 *
 * Invariants:
 *   1. Until it is taken or dropped, what is kept has the bits of the moment at which slice_keep was called.
 *   2. Each array is in memory at most once more than the slice has it: as a copy that is kept, or as a blob that its
 * taker has not released.
 * Thread: shard; a blob that was taken is the taker's, and may be released from any thread. */
#ifndef DP_SERVER_DENSE_KEEP_H
#define DP_SERVER_DENSE_KEEP_H

#include "server/dense/keep_room.h"
#include "server/dense/state.h"

struct slice_kept {
    struct version *version;             /* theta; NULL once it is copied or taken */
    struct blob theta;                   /* a copy of it, until it is taken: its plane is wanted */
    struct blob state[UPDATE_STATE_MAX]; /* copies, once the slice's own has changed, until they are taken */
    bool taken[UPDATE_STATE_MAX];
    bool changed;            /* the slice's own state */
    bool copying;            /* it is being changed for the first time, run by run */
    uint64_t open;           /* on arrival: steps that were open */
    size_t accepted_bytes;   /* of the slots of a step */
    struct metrics *arrived; /* [open] sums so far */
    uint8_t *accepted;       /* [open][accepted_bytes] slots that are in theta, a bit each */
};

/* Keeps the slice as it is, as slice->kept. One at a time. DP_NOMEM. */
DP_MUST_CHECK dp_err slice_keep(struct slice *slice);
/* A commit is about to change the state; commit_step calls these. Between the first and the last, slice_keep_run copies
 * each run of elements once, before it is changed: its bytes are in cache then. */
void slice_keep_before(struct slice *slice);
void slice_keep_run(struct slice *slice, uint64_t at, size_t n);
void slice_keep_after(struct slice *slice);
/* theta as a blob that its taker releases; once. */
struct blob slice_kept_theta(struct slice *slice);
/* The same of state number `state` of the rule. DP_NOMEM, also where there was none for a copy when it changed. */
DP_MUST_CHECK dp_err slice_kept_state(struct slice *slice, uint32_t state, struct blob *ret_bytes);
/* Drops what was not taken. Nothing need be kept. */
void slice_kept_drop(struct slice *slice);

#endif
