/* Gradient buffers that are sent without being copied: ordinary memory, or memory that the shards map and read where it
 * is. A slab goes back to its pool when nobody reads it any more: the last reference is dropped (the client holds one
 * until the step is complete, each message under way another, which ZeroMQ's I/O thread drops), and where shards read
 * it, all of them have said that they are done with the steps it was pushed in. Thread: the client's, except slab_drop:
 * any. */
#ifndef DP_WORKER_CLIENT_STATE_SLAB_H
#define DP_WORKER_CLIENT_STATE_SLAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net/shm.h"

struct slab {
    float *values;    /* cache-line aligned */
    uint64_t room;    /* floats */
    atomic_uint refs; /* 0: free */
    struct slab *next;
    struct shm memory; /* zeroed where it is not shared */
    uint32_t number;   /* by which the shards know it */
    uint32_t attempt;  /* of the pool when it was made */
    uint64_t until;    /* 1 + the latest step that it was pushed in as shared memory */
};

struct slab_pool {
    struct slab *all;
    /* Makes memory that all shards know by this number; false: slabs are ordinary memory from now on. NULL: they are.
     */
    bool (*share)(void *arg, uint32_t number, size_t bytes, struct shm *ret_memory);
    void *arg;
    uint32_t shared;  /* slabs of this attempt that are */
    uint32_t attempt; /* each session is a new one, and has slabs of its own */
    uint64_t done;    /* pushes of steps before this are not read by any shard any more */
};

/* A slab of at least `elems` floats with one reference, its values undefined; NULL when out of memory. */
struct slab *slab_take(struct slab_pool *pool, uint64_t elems);
/* The slab in use whose values these are, or NULL. */
struct slab *slab_find(const struct slab_pool *pool, const float *values);
void slab_keep(struct slab *slab);
void slab_drop(struct slab *slab);
/* slab_drop in the shape of zmq_free_fn: `slab` is the hint. */
void slab_drop_message(void *values, void *slab);
/* Whether the shards of this attempt can read it where it is. */
bool slab_is_shared(const struct slab_pool *pool, const struct slab *slab);
/* A session is over: its slabs are freed once they are not in use, and never pushed as shared memory again, since its
 * shards may read them for as long as they like. */
void slab_pool_renew(struct slab_pool *pool);
/* Frees all slabs, in use or not: after the ZeroMQ context has gone. */
void slab_pool_fini(struct slab_pool *pool);

#endif
