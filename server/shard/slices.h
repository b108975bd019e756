/* Slices as pieces of a shard. Thread: shard. */
#ifndef DP_SERVER_SHARD_SLICES_H
#define DP_SERVER_SHARD_SLICES_H

#include "server/shard/state.h"

extern const struct piece_ops slice_ops;

/* The open step of a slice is taken up for its commit: its gradients have waited until now. */
void slices_take_up(struct shard *shard, struct slice *slice);
/* A slice has committed a step: counts the staleness of its gradients if all were committed at once. */
void slices_count(struct shard *shard, const struct slice *slice, uint64_t step);

#endif
