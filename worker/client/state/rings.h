/* Memory in which a shard lays rows for us (RowsPushPull.taken and Rows.ring on the wire): mapped read-only, a larger
 * one after the other. Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_RINGS_H
#define DP_WORKER_CLIENT_STATE_RINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/shm.h"

struct ring;

/* The rings of one shard. A zeroed one has none. */
struct rings {
    struct ring *list; /* the latest first */
    uint32_t used;     /* number of the latest that an answer has named */
    uint64_t taken;    /* position before which nothing is read any more */
};

/* Maps a ring that the shard passes; `fd` stays the caller's. DP_PROTO, DP_NOMEM. */
DP_MUST_CHECK dp_err rings_add(struct rings *rings, uint32_t number, int fd, uint64_t bytes, dp_error *err);
/* Whether the ring has come, or a later one. */
bool rings_have(const struct rings *rings, uint32_t number);
/* Finds the bytes in a ring at a position. NULL: an answer that was overtaken by a later one, since when the shard may
 * have written there. DP_PROTO where it is not within the ring. */
DP_MUST_CHECK dp_err rings_at(struct rings *rings, uint32_t number, uint64_t at, uint64_t bytes,
                              const void **ret_values, dp_error *err);
/* All before this position was read. */
void rings_take(struct rings *rings, uint64_t end);
void rings_fini(struct rings *rings);

#endif
