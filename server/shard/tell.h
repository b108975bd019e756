/* The shard's news for the head and its refusals, counted and handed on through its calls. Thread: shard. */
#ifndef DP_SERVER_SHARD_TELL_H
#define DP_SERVER_SHARD_TELL_H

#include "server/shard/state.h"

/* Tells the head, the first time. A commit may be half done: nothing is committed from now on. */
void shard_fail(struct shard *shard, const dp_error *err);
/* Refuses a message about a piece. A push on arrival hears which slots of its step were accepted. */
void tell_refused(struct shard *shard, const struct piece *piece, const struct push_pull *msg, dp_err code,
                  const char *text);
/* The outcome of a node that was offered: it is counted, and the head hears of those of the job's first piece. */
void tell_arrived(struct shard *shard, const struct piece *piece, const struct push_pull *msg,
                  enum steps_verdict verdict);
/* Sums of all blocks for the head to add up; heap, taken. */
void tell_sums(struct shard *shard, const struct event_sums *sums);
/* Steps before `ready` have all that roster number `roster` wants. */
void tell_ready(struct shard *shard, uint64_t ready, uint64_t roster);
/* So few slots of `step` are owed that they may be left out. */
void tell_few(struct shard *shard, uint64_t step);
/* Tells the steps that have become complete on all pieces, with their reports. */
void tell_low(struct shard *shard);
/* The origin of the first gradient that was not finite, if a slice knows it. */
struct blame shard_blame(const struct shard *shard);

#endif
