/* The end of an output. Thread: main. */
#ifndef DP_WORKER_CTL_OUTPUT_H
#define DP_WORKER_CTL_OUTPUT_H

#include "common/base/dp_err.h"

/* Whether all that was printed has been written to stdout: DP_IO. */
DP_MUST_CHECK dp_err ctl_output_flush(dp_error *err);

#endif
