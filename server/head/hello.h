/* Workers say hello to the head. Thread: head. */
#ifndef DP_SERVER_HEAD_HELLO_H
#define DP_SERVER_HEAD_HELLO_H

#include <stdbool.h>

#include "proto/frame.h"
#include "server/members/members.h"

struct head;

void head_on_hello(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* Why nobody is taken in now; DP_OK if one is. */
DP_MUST_CHECK dp_err head_admission(const struct head *head, dp_error *err);
/* Whether the job's numerics are those of workers that have joined: who only says hello decides nothing. */
bool head_numerics_bound(const struct head *head);
/* Whether --max-workers has room for one more. DP_BUSY. */
DP_MUST_CHECK dp_err head_room(const struct head *head, dp_error *err);
/* Says in the log why a worker was refused. */
void head_log_refusal(struct head *head, const char *name, const dp_error *err);

#endif
