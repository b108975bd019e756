/* Messages of clients to the head. Thread: head. */
#ifndef DP_SERVER_HEAD_MESSAGES_H
#define DP_SERVER_HEAD_MESSAGES_H

#include <stddef.h>
#include <zmq.h>

/* `arg`: struct head. The frames are the caller's. */
void head_on_message(void *arg, zmq_msg_t *frames, size_t count);

#endif
