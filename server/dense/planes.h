/* Room for the versions of a shard's theta that workers of this machine can map: one run of shared memory in planes,
 * each of which has the shard's whole range as it lies in theta, with the same place within a page. So a worker that
 * maps plane p of all shards end to end has theta as one vector, without a copy.
 *
 * Version number n of each slice goes to plane n % count if nobody reads what was there; else it gets memory of its
 * own, and goes to workers by their sockets. While no session maps them, a large slice has its versions elsewhere too.
 * All shards of a job have the same number of planes. Thread: shard. */
#ifndef DP_SERVER_DENSE_PLANES_H
#define DP_SERVER_DENSE_PLANES_H

#include <stdint.h>

#include "common/net/shm.h"
#include "common/tensor/tensor.h"

/* A zeroed one is none. */
struct planes {
    struct shm memory;
    uint32_t count;
    uint64_t stride_bytes; /* from one plane to the next */
    uint64_t first;        /* element of theta that the first whole page of a plane begins with, or would */
    uint32_t readers;      /* sessions that have come to map them; its owner's to count */
};

/* `total` elements of theta, of which the shard has `range`. DP_NOMEM, DP_SYSTEM with the reason. */
DP_MUST_CHECK dp_err planes_init(struct planes *planes, uint64_t total, struct range range, dp_error *err);
void planes_fini(struct planes *planes);
/* The place of element `elem` of theta in a plane. */
float *planes_at(const struct planes *planes, uint32_t plane, uint64_t elem);

#endif
