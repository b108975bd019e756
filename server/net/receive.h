/* Messages of peers. Thread: shard. */
#ifndef DP_SERVER_NET_RECEIVE_H
#define DP_SERVER_NET_RECEIVE_H

#include "server/net/state.h"

/* A message as zuv hands it over; `arg` is the port_state. */
void port_on_message(void *arg, zmq_msg_t *frames, size_t count);

#endif
