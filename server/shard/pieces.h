/* The pieces of a shard, of whichever kind. Thread: shard. */
#ifndef DP_SERVER_SHARD_PIECES_H
#define DP_SERVER_SHARD_PIECES_H

#include "server/shard/state.h"

/* By its id in the job; NULL: it is another shard's. */
struct piece *pieces_find(const struct shard *shard, uint32_t id);
/* The first step that is open on none of them: no worker can have begun it. */
uint64_t pieces_opened(const struct shard *shard);

#endif
