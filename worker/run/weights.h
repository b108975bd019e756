/* The choice of a run between dense weights and a table of rows by features. All other code of the worker
 * asks here, or reads model_spec.table. Thread: main. */
#ifndef DP_WORKER_RUN_WEIGHTS_H
#define DP_WORKER_RUN_WEIGHTS_H

#include "worker/data/data.h"
#include "worker/dp.h"

/* Whether they are a table. */
bool weights_are_table(const dp_job *job);
/* Before a data file is read: whether it may be read in parts. DP_USAGE, naming --memory-limit. */
DP_MUST_CHECK dp_err weights_check_blocks(const dp_job *job, dp_error *err);
/* After it was read. DP_DATA, naming the file: it is dense, and the weights are a table. */
DP_MUST_CHECK dp_err weights_check_data(const dp_job *job, const struct data *data, dp_error *err);

#endif
