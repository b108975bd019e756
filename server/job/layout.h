/* Theta cut into ranges of shards, and these into slices. Invariant: ranges lie end to end, and a cut is a function of
 * the job alone. Thread: head. */
#ifndef DP_SERVER_JOB_LAYOUT_H
#define DP_SERVER_JOB_LAYOUT_H

#include "server/job/job.h"

/* Cuts tensors, and tables into parts, for this many shards: fills job->shards. DP_NOMEM; DP_REFUSED: too many slices.
 */
DP_MUST_CHECK dp_err job_settle_layout(struct job *job, uint32_t shards, dp_error *err);

#endif
