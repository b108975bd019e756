/* Gradient buffers that are sent without being copied. A slab goes back to its pool when the last reference is dropped:
 * the client holds one until the step is complete, each message under way another, which ZeroMQ's I/O thread drops.
 * Thread: the client's, except slab_drop: any. */
#ifndef DP_CLIENT_SLAB_H
#define DP_CLIENT_SLAB_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct slab {
    float *values;    /* cache-line aligned */
    uint64_t room;    /* floats */
    atomic_uint refs; /* 0: free */
    struct slab *next;
};

struct slab_pool {
    struct slab *all;
};

/* A slab of at least `elems` floats with one reference, its values undefined; NULL when out of memory. */
struct slab *slab_take(struct slab_pool *pool, uint64_t elems);
/* The slab in use whose values these are, or NULL. */
struct slab *slab_find(const struct slab_pool *pool, const float *values);
void slab_keep(struct slab *slab);
void slab_drop(struct slab *slab);
/* slab_drop in the shape of zmq_free_fn: `slab` is the hint. */
void slab_drop_message(void *values, void *slab);
/* Frees all slabs, in use or not: after the ZeroMQ context has gone. */
void slab_pool_fini(struct slab_pool *pool);

#endif
