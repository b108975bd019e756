/* Preparation for the loop, from what the settled job says. Thread: main. */
#ifndef DP_WORKER_RUN_TRAIN_PREPARE_H
#define DP_WORKER_RUN_TRAIN_PREPARE_H

#include "worker/run/state.h"

/* Makes targets, the plan, and the threads with their buffers. */
DP_MUST_CHECK dp_err train_prepare(struct train *t, dp_error *err);

/* The plan as the job has it now: a server that went on from a checkpoint may have given it another end. Between tasks,
 * or within dp_next: no slot is being computed. */
void train_take_plan(struct train *t);

#endif
