/* Shards of a job in one process, with the head's part of exchanges: commits through the shard's core, without sockets
 * or threads. */
#ifndef DP_TESTS_UNIT_SUPPORT_CLUSTER_H
#define DP_TESTS_UNIT_SUPPORT_CLUSTER_H

#include "server/dense/slice.h"
#include "server/shard/ask.h"
#include "server/shard/shard.h"
#include "server/shard/tell.h"
#include "server/step/block_sums.h"

enum { CLUSTER_SHARDS_MAX = 5, CLUSTER_SLICES_MAX = 64 };

struct cluster_message {
    struct cluster_message *next;
    uint32_t shard;
    uint64_t step;
    uint32_t phase, values;
    double *sums;
};

struct cluster {
    const struct shard_job *job;
    uint32_t shard_count;
    struct cluster_end {
        struct cluster *cluster;
        uint32_t number;
        struct shard shard;
        struct shard_counters counters;
        struct range range;
        struct range slices[CLUSTER_SLICES_MAX];
        uint64_t completed;
        uint64_t ready, few; /* if steps commit on the head's word: as the head heard it; 1 + the step */
    } ends[CLUSTER_SHARDS_MAX];
    struct exchange exchange;
    struct cluster_message *first, **last;
    double *report; /* [tensor][value] of the last step that had one */
    uint64_t report_step;
    uint32_t exchanges; /* phases in all */
};

/* slice_elems: so small that there are many slices. */
void cluster_start(struct cluster *cluster, const struct shard_job *job, uint32_t shards, uint64_t slice_elems);
void cluster_stop(struct cluster *cluster);
/* Pushes a training step's gradient sum, all of it as slot 0's and zeros as the others'; the order of slots is decided
 * by `seed`. Runs until all shards have committed. */
void cluster_step(struct cluster *cluster, uint64_t step, const float *sum, uint64_t seed);
/* The same with a gradient for each slot, slots[slot][elems]. */
void cluster_step_slots(struct cluster *cluster, uint64_t step, const float *slots, uint64_t seed);
void cluster_theta(const struct cluster *cluster, uint64_t step, float *out);

#endif
