/* The columns of a job's data, by which later workers, evaluation and the trained model find theirs. Thread: head. */
#ifndef DP_SERVER_JOB_SCHEMA_H
#define DP_SERVER_JOB_SCHEMA_H

#include "server/job/job.h"

/* Keeps the schema that the worker brings. DP_REFUSED where it does not fit the data, DP_NOMEM. */
DP_MUST_CHECK dp_err job_settle_schema(struct job *job, const Dp__Join *join, dp_error *err);
/* Whether another worker's columns are the job's: names where both have them, and where workers have data of their own
 * both or none. DP_REFUSED naming the first difference. */
DP_MUST_CHECK dp_err job_check_schema(const struct job *job, const Dp__Join *join, dp_error *err);

#endif
