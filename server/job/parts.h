/* Tables of a job: the runs of ids that go to each shard. Thread: head. */
#ifndef DP_SERVER_JOB_PARTS_H
#define DP_SERVER_JOB_PARTS_H

#include "server/job/job.h"

/* A tensor as a worker declares it. DP_RANGE. */
DP_MUST_CHECK dp_err job_add_tensor(struct tensors *tensors, const Dp__Tensor *from, dp_error *err);
/* Cuts the tables into parts; ids run on from `slices`. DP_NOMEM. */
DP_MUST_CHECK dp_err job_settle_parts(struct job *job, uint32_t slices, dp_error *err);
/* A shard's parts as messages carry them: heap, one block, freed with job_free_parts. */
DP_MUST_CHECK dp_err job_wire_parts(const struct job_shard *shard, Dp__Shard *wire);
void job_free_parts(Dp__Shard *wire);

#endif
