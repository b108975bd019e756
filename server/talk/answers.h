/* Large answers, whose bytes are counted (server/members/answers.h). Thread: head. */
#ifndef DP_SERVER_TALK_ANSWERS_H
#define DP_SERVER_TALK_ANSWERS_H

#include <stddef.h>
#include <zmq.h>

#include "server/members/members.h"

struct head;

/* A frame of `bytes` for the peer, which may not read it: takes the heap block. DP_BUSY where it has not read what it
 * was sent before; DP_NOMEM. */
DP_MUST_CHECK dp_err head_answer_frame(struct head *head, const struct routing_id *route, char *block, size_t bytes,
                                       zmq_msg_t *ret_frame);

#endif
