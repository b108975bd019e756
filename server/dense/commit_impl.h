/* Shared by commit.c and commit_project.c: the walk over a slice's blocks, and step sizes. Thread: shard. */
#ifndef DP_SERVER_DENSE_COMMIT_IMPL_H
#define DP_SERVER_DENSE_COMMIT_IMPL_H

#include "server/dense/commit.h"

struct block {
    uint32_t tensor;
    uint64_t at; /* in the slice */
    size_t n;
};

/* The first block of a slice, and each that follows; false at the end. If no sums are kept by block, blocks of a tensor
 * are merged as far as they fit in cache, since small tensors have blocks of few elements. */
struct walk {
    const struct slice *slice;
    bool merged;
    uint32_t segment;
    uint64_t done; /* elements of the segment */
};
bool walk_next(struct walk *walk, struct block *ret_block);

/* The kernel's numbers for a tensor; the mean gradient may have been gathered before. */
struct kernel_update commit_kernel(const struct slice *slice, const struct commit *commit, uint32_t tensor);
/* The regularizers and projections of a tensor that follow the rule's step. */
struct joint commit_joint(const struct shard_job *job, uint32_t tensor);
/* Step sizes of a block after the rule's step, of each element to slice->rates where the rule scales them. */
struct joint_steps commit_steps(struct slice *slice, const struct commit *commit, const struct kernel_update *k,
                                struct block b);

/* A block of theta_{t+1}: that it is not finite is kept in mind, and who brought it. */
void commit_look(struct slice *slice, struct block b, const float *x);

#endif
