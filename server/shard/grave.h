/* The remains of a shard's job that was settled anew: versions that replies under way still refer to, with their
 * memory, until nobody does. Thread: shard. */
#ifndef DP_SERVER_SHARD_GRAVE_H
#define DP_SERVER_SHARD_GRAVE_H

#include "server/shard/state.h"

struct grave;

/* Takes all versions of the shard's slices, and its planes, before shard_fini; puts them before *list. DP_NOMEM: the
 * shard is as before. */
DP_MUST_CHECK dp_err grave_dig(struct shard *shard, struct grave **list);
/* Frees those that nobody refers to any more. */
void graves_sweep(struct grave **list);
/* Frees all: nobody can refer to them. */
void graves_free(struct grave **list);

#endif
