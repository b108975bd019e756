/* --checkpoint-dir: the folder with its lock, the thread that writes there, and the job's log. Thread: head. */
#ifndef DP_SERVER_RESULT_CHECKPOINT_OPEN_H
#define DP_SERVER_RESULT_CHECKPOINT_OPEN_H

#include "common/base/dp_err.h"

struct head;

/* Opens all of it; what is open where that fails is for head_checkpoint_close and head_checkpoint_fini. DP_IO, DP_BUSY,
 * DP_SYSTEM, DP_NOMEM. */
DP_MUST_CHECK dp_err checkpoint_open(struct head *head, dp_error *err);

#endif
