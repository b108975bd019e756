/* Memory in which answers to one session lie one behind the other: the server writes it, the session's worker maps it
 * read-only, and says how far it has taken what lies there. A position counts the bytes of all rings that the session
 * has had, so that what the worker has taken of an earlier ring is known too.
 *
 * Invariant: what lies at [tail, head) is not written again; the worker may be reading it. Thread: shard. */
#ifndef DP_SERVER_SHARD_SHM_RING_H
#define DP_SERVER_SHARD_SHM_RING_H

#include <stdint.h>

#include "common/net/shm.h"

/* A zeroed one is none: it has no room. */
struct shm_ring {
    struct shm memory;
    uint32_t number;     /* 1 + how many the session had before */
    uint64_t tail, head; /* positions; a position is at byte position % memory.bytes */
};

/* Room for an answer, in one piece and aligned to a cache line; NULL where the ring has none. */
float *shm_ring_take(struct shm_ring *ring, uint64_t bytes, uint64_t *ret_at);
/* The worker has taken all before this position. */
void shm_ring_taken(struct shm_ring *ring, uint64_t taken);
/* Makes a ring that comes after `ring`, larger than it, for answers of `bytes`. DP_RANGE where it would be too
 * large, DP_NOMEM, DP_SYSTEM; the reason in words. */
DP_MUST_CHECK dp_err shm_ring_next(const struct shm_ring *ring, uint64_t bytes, struct shm_ring *ret_next,
                                   dp_error *err);
void shm_ring_fini(struct shm_ring *ring);

#endif
