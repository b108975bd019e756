/* Payloads of messages, kept in libzmq's buffers: the carrier of sessions whose payloads go by the socket. Thread:
 * shard. */
#ifndef DP_SERVER_NET_PAYLOAD_H
#define DP_SERVER_NET_PAYLOAD_H

#include "server/net/carrier.h"

extern const struct carrier carrier_socket;

/* carrier_socket.take */
DP_MUST_CHECK dp_err port_payload_take(struct port_state *port, const struct port_session *session,
                                       const struct carrier_push *push, struct blob *ret_floats, dp_error *err);
/* Frees the places of payloads. */
void port_payloads_fini(struct port_state *port);

#endif
