/* A server that is started again goes on where its --checkpoint-dir says: the newest whole checkpoint is chosen, the
 * command line is held against the job's, and the job is settled by the message that settled it at first, before a
 * worker comes. Thread: head. */
#ifndef DP_SERVER_HEAD_RESUME_H
#define DP_SERVER_HEAD_RESUME_H

#include <stdbool.h>

#include "common/base/dp_err.h"

struct head;

/* Chooses a checkpoint, or none: says so, and names those that are damaged. DP_USAGE where the job in the folder is
 * another one; DP_DATA where --resume wants one and none is whole. May read all of its bytes. */
DP_MUST_CHECK dp_err head_resume_choose(struct head *head, dp_error *err);
/* Once the shards run: the job goes on from what was chosen, if anything was. */
DP_MUST_CHECK dp_err head_resume(struct head *head, dp_error *err);

/* Whether the job was finished when this server was started: it says so, exports, and ends. */
bool head_resume_finished(const struct head *head);

#endif
