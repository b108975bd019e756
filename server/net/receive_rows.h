/* Messages about tables. Thread: shard. */
#ifndef DP_SERVER_NET_RECEIVE_ROWS_H
#define DP_SERVER_NET_RECEIVE_ROWS_H

#include "server/net/state.h"

/* A parsed RowsPushPull of a known session, with its payload frames. */
void port_on_rows(struct port_state *port, const struct port_session *session, const struct port_message *message,
                  zmq_msg_t *payload);

#endif
