/* A shard: its pieces (slices of its range of theta, parts of tables), pulls that wait, and its words to the head.
 * Shared-nothing: no lock, no state of another shard. Knows sessions by number and answers through calls; sockets and
 * bytes are server/net's.
 *
 * Invariants:
 *   1. A pull is answered at once, parked, or refused; a session has at most one parked pull per piece, its latest.
 *   2. A push is answered only if it is refused. A duplicate push is dropped in silence and its pull is answered all
 * the same.
 *   3. low, the steps complete on all pieces, never goes back; each is told to the head once, in order.
 *   4. No step is committed that the gate does not let (gate.h).
 * Thread: shard. */
#ifndef DP_SERVER_SHARD_SHARD_H
#define DP_SERVER_SHARD_SHARD_H

#include "server/shard/state.h"

void shard_init(struct shard *shard, uint32_t id, struct shard_counters *counters, const struct shard_calls *calls);
void shard_fini(struct shard *shard);

/* The job is settled: makes the slices (`slices[count]`, ranges of theta), which begin at its first step. DP_NOMEM. */
DP_MUST_CHECK dp_err shard_start(struct shard *shard, const struct shard_job *job, uint32_t first_slice,
                                 const struct range *slices, uint32_t count, dp_error *err);
/* The shard has these parts of tables as well, after shard_start. DP_NOMEM. */
DP_MUST_CHECK dp_err shard_rows_start(struct shard *shard, uint32_t first_part, const struct part_range *parts,
                                      uint32_t part_count, uint64_t cache_bytes, dp_error *err);

/* ---- from sessions ---- */

/* A checked message; the payload, a gradient or values of rows, is taken. */
void shard_push_pull(struct shard *shard, const struct push_pull *msg, struct blob *payload);
/* The session is over: nothing is parked for it any more. */
void shard_forget(struct shard *shard, uint32_t session);

/* ---- from the head ---- */

/* All shards have completed the steps before `low`. */
void shard_global_low(struct shard *shard, uint64_t low);
/* The totals over all shards of the sums that this one handed in, [tensor][value]. */
void shard_totals(struct shard *shard, uint64_t step, uint32_t phase, const double *totals);
/* Step-stamped control, first half: the shard promises to commit nothing of a step >= the one returned, which is `step`
 * or, if that is later, the first that it has not begun to commit; for a change of consistency, the first that is not
 * open, and to open none from there on. Until shard_set. */
uint64_t shard_prepare(struct shard *shard, uint64_t step, enum setting_kind kind);
/* Second half, once all shards have promised the same step: the setting holds from it on, and the promise is kept. */
void shard_set(struct shard *shard, uint64_t step, const struct setting *setting);
/* GO: all shards have the steps before `go`, so that they may be committed. */
void shard_go(struct shard *shard, uint64_t go);
/* GO for `step`, without the slots that are not in live[slots], of which there are `count`; borrowed for the call. */
void shard_drop(struct shard *shard, uint64_t step, const uint8_t *live, uint32_t count);

#endif
