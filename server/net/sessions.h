/* Sessions by their tokens. Thread: shard. */
#ifndef DP_SERVER_NET_SESSIONS_H
#define DP_SERVER_NET_SESSIONS_H

#include "server/net/state.h"

/* The session of a token; NULL if there is none, also not among the commands that have come meanwhile. */
struct port_session *port_session_find(struct port_state *port, uint64_t token);

#endif
