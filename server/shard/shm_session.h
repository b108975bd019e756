/* Memory that a session shares with a shard: the slabs that its worker has passed, which are read where they are, the
 * planes of theta that the worker may be reading, and the ring in which it finds rows of tables.
 *
 * Invariants:
 *   1. A version in a plane is referenced for as long as the session may be reading it: from the answer that names the
 *      plane until the worker says that it has a later version, or until the session is over and all shards know that.
 *      (A worker that was given up may go on reading and send what it computes: once no shard takes that any more, the
 *      plane may be written.)
 *   2. A slab stays mapped while a payload refers to it, whatever becomes of its worker, also when the worker has
 *      passed another one under its number.
 * Thread: shard. */
#ifndef DP_SERVER_SHARD_SHM_SESSION_H
#define DP_SERVER_SHARD_SHM_SESSION_H

#include "common/net/shm_wire.h"
#include "server/dense/slice.h"
#include "server/shard/shm_ring.h"
#include "server/step/slab.h"

struct shm_session {
    struct shm_session *next; /* of those that are over */
    uint64_t fence;           /* number of the fence that ended it */
    struct slice *slices;     /* of the shard, borrowed */
    uint32_t slice_count;
    uint64_t *lent; /* [slice_count] set of the planes that it may be reading */
    struct shm_slab *slabs[SHM_SLABS_MAX];
    struct shm_ring ring;
    bool begun;   /* it has what all shards share, and reads there: until then nothing is lent */
    bool no_ring; /* there is no memory for one, which has been said */
};

/* NULL when out of memory. */
struct shm_session *shm_session_new(struct slice *slices, uint32_t slice_count);
/* The session is over, and all shards know it. */
void shm_session_free(struct shm_session **session);

/* Maps `bytes` of a slab, in the place of an earlier one of that number. DP_PROTO; DP_NOMEM, also
 * where the slabs of the session, or of all in the process, would take too much of its addresses. */
DP_MUST_CHECK dp_err shm_session_slab(struct shm_session *session, uint32_t number, int fd, uint64_t bytes,
                                      dp_error *err);
/* Elements [at, at + count) of a slab, as a payload that keeps it mapped. False if there is no such slab, or they are
 * not all in it. */
bool shm_session_payload(const struct shm_session *session, uint32_t number, uint64_t at, uint64_t count,
                         struct blob *ret_payload);

/* Lends a version of a slice; false if it is in no plane, or the session has not begun to read there. */
bool shm_session_lend(struct shm_session *session, uint32_t slice, struct version *version);
/* The worker has version number `have` of the slice: it reads no older one. */
void shm_session_returned(struct shm_session *session, uint32_t slice, uint64_t have);

#endif
