/* theta as the shards hold it in shared memory, mapped read-only: for each plane a view, in which the planes of all
 * shards lie end to end, so that a version of theta is one vector that nobody has copied. Only a page on which shards
 * meet cannot be mapped from all of them: what lies there is copied (views_finish).
 *
 * Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_VIEWS_H
#define DP_WORKER_CLIENT_STATE_VIEWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/shm.h"
#include "common/tensor/tensor.h"

/* Memory that a shard has passed. */
struct view_part {
    struct range range;    /* of theta */
    struct shm memory;     /* all planes */
    uint64_t stride_bytes; /* from one plane to the next */
};

/* A zeroed one has none. */
struct views {
    uint32_t count; /* planes */
    uint64_t elems; /* of theta */
    uint32_t part_count;
    struct view_part *parts; /* in the order of theta, without gaps */
    float **theta;           /* [count] */
};

/* Takes over the parts (heap, with their memory, whose descriptors are open), in case of failure too. DP_PROTO where
 * their layouts do not fit, DP_NOMEM. */
DP_MUST_CHECK dp_err views_init(struct views *views, struct view_part *parts, uint32_t part_count, uint32_t planes,
                                dp_error *err);
void views_fini(struct views *views);
/* Element `elem` of theta in a plane, where its shard has it: behind it lie those of the same shard. */
const float *views_at(const struct views *views, uint32_t plane, uint64_t elem);
/* All of a plane: copies what could not be mapped. */
const float *views_finish(struct views *views, uint32_t plane);

#endif
