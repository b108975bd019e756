/* First values of a job out of a model or a checkpoint of another one (common/checkpoint/saved.h), by the names of
 * tensors: theta alone. The optimizer's state is that of a job that begins with this theta. Thread: one at a time. */
#ifndef DP_SERVER_STORE_WARM_H
#define DP_SERVER_STORE_WARM_H

#include "common/base/dp_err.h"
#include "server/step/first_values.h"

/* `path`: as struct saved has it, once it was opened and its tensors were held against the job's. DP_IO, DP_DATA naming
 * the file. Closed by values_source_close. */
DP_MUST_CHECK dp_err warm_open(const char *path, struct values_source **ret_source, dp_error *err);

#endif
