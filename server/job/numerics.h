/* The numerics of a job: the bits that its workers compute. Thread: head. */
#ifndef DP_SERVER_JOB_NUMERICS_H
#define DP_SERVER_JOB_NUMERICS_H

#include <stdbool.h>

#include "server/job/job.h"

/* Whether the worker's numerics are those of the job (bsp refuses others, unless --mixed-numerics). DP_REFUSED. */
DP_MUST_CHECK dp_err job_admit(const struct job *job, const char *numerics, dp_error *err);
/* The first worker that joins: its numerics become those of the job. */
void job_take_numerics(struct job *job, const char *numerics);
/* Whether the job's numerics are those that it was settled with, or need not be. */
bool job_same_numerics(const struct job *job);
/* job_admit's refusal, without what the job has. */
extern const char JOB_OTHER_NUMERICS[];

#endif
