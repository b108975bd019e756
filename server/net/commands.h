/* The head's commands, as a shard's thread obeys them. Thread: shard. */
#ifndef DP_SERVER_NET_COMMANDS_H
#define DP_SERVER_NET_COMMANDS_H

#include "server/net/state.h"

/* Does what the head has asked so far. */
void port_obey(struct port_state *port);

#endif
