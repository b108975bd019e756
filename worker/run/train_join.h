/* Joining the job with the data that were read. Thread: main. */
#ifndef DP_WORKER_RUN_TRAIN_JOIN_H
#define DP_WORKER_RUN_TRAIN_JOIN_H

#include "worker/run/state.h"

/* Tells the server of data and model, and checks the tensors that the job has then. DP_MODEL where they are not ours.
 */
DP_MUST_CHECK dp_err train_join(struct train *t, dp_error *err);

#endif
