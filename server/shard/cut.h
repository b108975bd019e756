/* The cut of a shard: its state at one step of the plan, as the bytes of its file of a checkpoint (store/shard_file.h),
 * while training goes on. Each piece is kept at the moment when its window comes to the step, so nothing waits for a
 * cut; the bytes are made as they are asked for.
 *
 * Invariants:
 *   1. A piece is kept when the steps before the cut are complete on it, and nothing of its state has been changed by
 * the commit of a later one; on arrival, with the slots of later steps that are in it already.
 *   2. Multipliers are of the moment at which the first slice is kept: a global rule commits a step on all slices at
 * once.
 *   3. There is one cut at a time. It may be dropped at any moment.
 * Thread: shard. */
#ifndef DP_SERVER_SHARD_CUT_H
#define DP_SERVER_SHARD_CUT_H

#include "server/shard/state.h"

/* The room for copies of the job that has begun, which stays to its end; made if there is none yet. Borrowed. NULL: no
 * array of a slice is ever copied, or out of memory; copies are of the heap then. */
struct keep_room *cut_room(struct shard *shard);
/* Arrays of a slice that a cut may copy, as things are now: the states, and theta where workers map it. */
uint32_t cut_copies(const struct shard *shard);
/* The shard is to be cut at `step`, of which theta has seen `train_step` training steps. Pieces that are there are kept
 * at once. DP_RANGE: a piece is past it; DP_DATA: it is no step of the job; DP_BUSY: there is no job here, or it has
 * failed. Nothing is cut then. */
DP_MUST_CHECK dp_err cut_arm(struct shard *shard, uint64_t step, uint64_t train_step, dp_error *err);
/* The piece's window has moved. */
void cut_reached(struct shard *shard, struct piece *piece);
/* Whether all pieces are kept, or one could not be; shard_calls.cut says so when it becomes true after cut_arm. */
bool cut_is_ready(const struct shard *shard);
/* The next bytes of the file, for the taker to release; of a cut that is ready. None where none could be made in a
 * short time. *ret_more: others may follow. DP_NOMEM, DP_RANGE (the file's head is too long), DP_DIVERGED (theta or its
 * state is not finite): the cut is of no use. */
DP_MUST_CHECK dp_err cut_next(struct shard *shard, struct blob *ret_bytes, bool *ret_more);
/* Drops what was not taken. Nothing need be cut. */
void cut_drop(struct shard *shard);

#endif
