/* The job becomes whole: its modules and shards start. Thread: head. */
#ifndef DP_SERVER_HEAD_SETTLE_H
#define DP_SERVER_HEAD_SETTLE_H

#include "proto/frame.h"

struct head;

/* The first worker settles the job by what it joins with. If that cannot be, the worker is told and the job is as
 * before; a failure of the server ends the job. */
dp_err head_settle(struct head *head, const Dp__Join *join, dp_error *err);
/* All modules forget the job. */
void head_settle_stop(struct head *head);

#endif
