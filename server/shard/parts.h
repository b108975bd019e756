/* Parts of tables as pieces of a shard, and the lists of ids that the shard keeps. A message whose list is not known
 * changes nothing. Thread: shard. */
#ifndef DP_SERVER_SHARD_PARTS_H
#define DP_SERVER_SHARD_PARTS_H

#include "server/shard/state.h"

extern const struct piece_ops part_ops;

/* Makes the parts, of ranges parts[part_count]; lists take at most cache_bytes. DP_NOMEM leaves what parts_fini frees.
 */
DP_MUST_CHECK dp_err parts_init(struct shard *shard, uint32_t first_part, const struct part_range *parts,
                                uint32_t part_count, uint64_t cache_bytes, dp_error *err);
void parts_fini(struct shard *shard);
/* The list of this hash, if the shard has it: borrowed until the next call about lists. */
struct rowlist *shard_rows_known(struct shard *shard, uint32_t part, uint64_t hash, uint32_t rows);
/* A list that arrived, checked: kept for later; takes `ids` in at any address. A new reference, NULL when out of
 * memory. */
struct rowlist *shard_rows_learn(struct shard *shard, uint32_t part, uint64_t hash, uint32_t rows, const void *ids);

#endif
