/* A worker's memory, mapped so that its gradients are read where they are: it stays mapped while a payload refers to
 * it. Nothing is read of it but floats, each of which may be any: its worker can change them at any time. Thread:
 * shard. */
#ifndef DP_SERVER_STEP_SLAB_H
#define DP_SERVER_STEP_SLAB_H

#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/base/mem.h"
#include "common/net/shm.h"

struct shm_slab {
    struct shm memory;
    uint64_t elems;
    uint64_t bytes; /* as they were counted */
    uint32_t refs;  /* payloads, and the session while it has it */
};

/* Maps `bytes` of fd for a session that has passed session_bytes beside them. DP_PROTO; DP_NOMEM, also where the slabs
 * of the session, or of all in the process, would take too much of its addresses. */
DP_MUST_CHECK dp_err shm_slab_new(int fd, uint64_t bytes, uint64_t session_bytes, struct shm_slab **ret_slab,
                                  dp_error *err);
/* Gives a reference back. */
void shm_slab_drop(void *slab);
/* Elements [at, at + count) as a payload that keeps the slab mapped. False if they are not all in it. */
bool shm_slab_payload(struct shm_slab *slab, uint64_t at, uint64_t count, struct blob *ret_payload);
/* Whether a payload is a worker's memory, which must not be written. */
bool shm_is_slab(const struct blob *payload);

#endif
