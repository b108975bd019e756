/* Tables on a shard: the parts that it holds, pulls of rows that wait, and the lists of ids that it keeps. The same
 * invariants as for slices (shard.h), and a message whose list is not known changes nothing. Thread: shard. */
#ifndef DP_SERVER_SHARD_ROWS_H
#define DP_SERVER_SHARD_ROWS_H

#include "server/shard/shard.h"

/* A checked message: one node of a step, or a pull, or both. */
struct rows_push_pull {
    uint32_t session;
    uint64_t request;
    uint32_t part; /* index within the shard */
    bool push;
    uint64_t step;
    uint32_t node; /* heap number */
    struct metrics metrics;
    bool pull;
    uint64_t pull_step;
    uint64_t have;                         /* 1 + version of these rows that is held, 0 for none */
    struct rowlist *push_list, *pull_list; /* borrowed; NULL where empty */
};

/* The job is settled: the shard has these parts, besides its slices (after shard_start). DP_NOMEM. */
DP_MUST_CHECK dp_err shard_rows_start(struct shard *shard, uint32_t first_part, const struct part_range *parts,
                                      uint32_t part_count, uint64_t cache_bytes, dp_error *err);
void shard_rows_fini(struct shard *shard);
/* The list of this hash, if the shard has it: borrowed until the next call about lists. */
struct rowlist *shard_rows_known(struct shard *shard, uint32_t part, uint64_t hash, uint32_t rows);
/* A list that arrived, checked: kept for later; takes `ids` in at any address. A new reference, NULL when out of
 * memory. */
struct rowlist *shard_rows_learn(struct shard *shard, uint32_t part, uint64_t hash, uint32_t rows, const void *ids);
/* A checked message; values are taken. */
void shard_rows_push_pull(struct shard *shard, const struct rows_push_pull *msg, struct blob *values);

/* ---- for shard.c ---- */

/* The least and the greatest open step of all parts; UINT64_MAX and 0 where there are none. */
uint64_t shard_rows_low(const struct shard *shard);
uint64_t shard_rows_high(const struct shard *shard);
void shard_rows_release_before(struct shard *shard, uint64_t low);
/* Commits what can be committed. */
void shard_rows_advance_all(struct shard *shard);
void shard_rows_forget(struct shard *shard, uint32_t session);

#endif
