/* Preparation for the loop, from what the settled job says. Thread: main. */
#ifndef DP_WORKER_RUN_TRAIN_PREPARE_H
#define DP_WORKER_RUN_TRAIN_PREPARE_H

#include "worker/run/state.h"

/* Makes targets, the plan, and the threads with their buffers. */
DP_MUST_CHECK dp_err train_prepare(struct train *t, dp_error *err);

#endif
