/* The numerics of a job: which bits its workers compute; see job.h. Thread: head. */
#include "server/job/numerics.h"

#include <string.h>

#include "common/base/text.h"

const char JOB_OTHER_NUMERICS[] =
    "this worker computes other bits than the job's workers" JOB_ASK_LOG
    ": run it on the same kind of CPU with the same build of dp, or start dp-server with --mixed-numerics";

dp_err job_admit(const struct job *job, const char *numerics, dp_error *err)
{
    if (job->numerics[0] && !job->opts->mixed_numerics && strcmp(job->numerics, numerics) != 0)
        return dp_fail(err, DP_REFUSED,
                       "this worker computes other bits (%.150s) than the job's workers (%.150s); "
                       "start dp-server with --mixed-numerics to take it all the same",
                       numerics, job->numerics);
    return DP_OK;
}

void job_take_numerics(struct job *job, const char *numerics)
{
    (void)str_copy(job->numerics, sizeof job->numerics, numerics);
}

bool job_same_numerics(const struct job *job)
{
    return job->opts->mixed_numerics || strcmp(job->numerics, job->settled_numerics) == 0;
}
