/* Letters of a head that shares the port's socket. Thread: shard. */
#ifndef DP_SERVER_NET_LETTERS_H
#define DP_SERVER_NET_LETTERS_H

#include "server/net/state.h"

/* A message for the head; its frames may be taken. */
void port_pass_on(struct port_state *port, const Dp__Header *header, zmq_msg_t *frames, size_t count);
/* Sends all letters of the head. */
void port_send_letters(struct port_state *port);

#endif
