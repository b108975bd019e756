/* The step of which the next checkpoint is. Pure arithmetic. A shard may be ahead of what the head knows of it, and the
 * cut is late then: the next try is farther ahead, up to the distance that no shard can have gone. Thread: any. */
#ifndef DP_SERVER_RESULT_DUE_H
#define DP_SERVER_RESULT_DUE_H

#include <stdint.h>

#include "common/tensor/plan.h"

/* Steps between the shards and a cut, after a number of tries that were late: 0, 1, 2, 4, ... SLICE_VERSIONS. */
uint64_t due_ahead(uint32_t tries);
/* A checkpoint as soon as it can be: the step of its cut, at most plan_total. `low`: the first step that is not
 * complete on the farthest shard. It is a step that trains, or the end; at the first try whatever the shards are at,
 * since no other may come if nobody works. */
uint64_t due_soon(const struct plan *plan, uint64_t low, uint32_t tries);
/* --checkpoint-every N: the next multiple of `every` training steps behind `low`. UINT64_MAX: none comes before the
 * job's end, which has a checkpoint of its own. */
uint64_t due_multiple(const struct plan *plan, uint64_t every, uint64_t low, uint32_t tries);

#endif
