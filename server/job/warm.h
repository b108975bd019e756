/* Whether a job can begin with a model or a checkpoint of another one (--init-from). Thread: head. */
#ifndef DP_SERVER_JOB_WARM_H
#define DP_SERVER_JOB_WARM_H

#include "common/checkpoint/saved.h"
#include "server/job/job.h"

/* Holds a settled job against it: model, tensors by name and shape, labels, columns, hashing of features. DP_REFUSED
 * naming the first difference with both sides. Facts that one of them does not have are not compared. */
DP_MUST_CHECK dp_err job_warm_check(const struct job *job, const struct saved *saved, dp_error *err);

#endif
