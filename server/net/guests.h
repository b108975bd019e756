/* Workers that come to the door of shared memory. Thread: shard; opened before it runs. */
#ifndef DP_SERVER_NET_GUESTS_H
#define DP_SERVER_NET_GUESTS_H

#include "server/net/state.h"

/* Opens the port's door. DP_SYSTEM. */
DP_MUST_CHECK dp_err port_guests_open(struct port_state *port, const char *name, dp_error *err);

#endif
