/* Pushes that a session may make. Thread: shard. */
#ifndef DP_SERVER_NET_PUSH_H
#define DP_SERVER_NET_PUSH_H

#include "server/net/state.h"
#include "server/shard/piece.h"

/* Whether the session may push that, and the sums can be those of the node's samples; the piece is one of the shard's.
 * False: the peer was told. Commands that have come meanwhile are done first. */
bool port_may_push(struct port_state *port, const struct port_session *session, const struct port_message *message);
/* The message as the shard's core takes it, without lists of rows; the piece is one of the shard's. */
struct push_pull port_to_core(const struct shard *shard, const struct port_message *message);

#endif
