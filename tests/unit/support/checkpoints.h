/* Checkpoints of shards that are in the test's process, in a temporary folder. */
#ifndef DP_TESTS_UNIT_SUPPORT_CHECKPOINTS_H
#define DP_TESTS_UNIT_SUPPORT_CHECKPOINTS_H

#include "server/shard/state.h"
#include "server/store/folder.h"

/* A new folder, and its end with all that is in it. */
void checkpoints_open(struct folder *ret_folder);
void checkpoints_close(struct folder *folder);
/* Writes the cuts of shards, which are ready, and what the head writes beside them. Shards that have no piece have no
 * file. */
void checkpoints_write(const struct folder *folder, struct shard *const *shards, uint32_t count);

#endif
