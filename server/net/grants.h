/* The slots that sessions may push, as the head deals them. Thread: shard; port_grants_fini is the head's as well, once
 * the thread is over. */
#ifndef DP_SERVER_NET_GRANTS_H
#define DP_SERVER_NET_GRANTS_H

#include "server/net/state.h"

/* A session opens, whose name is taken; it is over; a deal; the job is settled anew. */
void port_grants_open(struct port_session *session, uint64_t worker, char *name);
void port_grants_close(struct port_state *port, struct port_session *session);
void port_grants_deal(struct port_state *port, const struct deal *deal);
void port_grants_fini(struct port_state *port);

#endif
