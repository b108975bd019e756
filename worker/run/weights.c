/* The choice between dense weights and a table. Thread: main. */
#include "worker/run/weights.h"

bool weights_are_table(const dp_job *job)
{
    return job->sparse;
}

/* The rows of a table are found in data that are all there. */
dp_err weights_check_blocks(const dp_job *job, dp_error *err)
{
    if (weights_are_table(job))
        return dp_fail(err, DP_USAGE,
                       "option --memory-limit is for jobs of dp-server --shuffle block without --sparse");
    return DP_OK;
}

/* Dense rows touch every feature, so there would be nothing to leave out. */
dp_err weights_check_data(const dp_job *job, const struct data *data, dp_error *err)
{
    if (weights_are_table(job) && !data_is_sparse(data))
        return dp_fail(err, DP_DATA,
                       "%s: is dense, and this job is --sparse; give LIBSVM data, or start dp-server without --sparse",
                       data->name);
    return DP_OK;
}
