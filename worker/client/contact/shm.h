/* Memory shared with the shards of a server on this host: their planes of theta and rings of rows, and our slabs, which
 * all of them map.
 * It is all shards or none: only when all have welcomed us are they told that we read there. The other side
 * answers at once, or when a large theta has been filled: these calls wait. Thread: the client's. */
#ifndef DP_WORKER_CLIENT_CONTACT_SHM_H
#define DP_WORKER_CLIENT_CONTACT_SHM_H

#include "common/net/shm_wire.h"
#include "worker/client/state/rings.h"
#include "worker/client/state/views.h"

/* A zeroed one is closed. */
struct client_shm {
    uint32_t count;
    uint64_t answer_ms;       /* longest wait for an answer */
    int *doors;               /* [count] connections to the shards that have parameters */
    struct rings *rings;      /* [count] */
    const volatile int *stop; /* becomes non-zero: waits end with DP_STOPPED; may be NULL */
};

struct shm_place {
    char name[SHM_NAME_MAX]; /* empty: the shard shares no memory */
    struct range range;      /* may be empty: a shard that has rows alone */
};

/* Says to each shard of which session we are, and maps what it passes: the views are the caller's. The reason why not:
 * DP_UNREACHABLE, DP_REFUSED, DP_PROTO, DP_NOMEM; DP_HELLO_REQUIRED where the session is lost. */
DP_MUST_CHECK dp_err client_shm_open(struct client_shm *shm, const struct shm_place *places, uint32_t count,
                                     uint64_t session, uint64_t incarnation, const volatile int *stop,
                                     struct views *ret_views, dp_error *err);
void client_shm_close(struct client_shm *shm);
/* Passes a slab to all shards. */
DP_MUST_CHECK dp_err client_shm_pass(struct client_shm *shm, uint32_t number, const struct shm *slab, dp_error *err);
/* Finds rows in a ring that the shard has passed before it names it: see rings_at. */
DP_MUST_CHECK dp_err client_shm_rows(struct client_shm *shm, uint32_t shard, uint32_t ring, uint64_t at, uint64_t bytes,
                                     const void **ret_values, dp_error *err);

#endif
