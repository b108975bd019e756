/* A shard's answers: theta, rows and errors. `arg` of a call of the shard's core is the port_state.
 * Thread: shard. */
#ifndef DP_SERVER_NET_REPLY_H
#define DP_SERVER_NET_REPLY_H

#include "server/net/state.h"

/* Counts and logs a message that was no good. */
void port_malformed(struct port_state *port, const dp_error *err);

/* A header for the session, without its body. */
Dp__Header port_header(const struct port_state *port, uint64_t token, uint64_t request);
/* Sends it the way that the session's messages about the piece come, and `payload` behind it unless NULL, which is
 * taken. */
void port_answer(struct port_state *port, const struct port_session *session, uint32_t piece, const Dp__Header *header,
                 zmq_msg_t *payload);
/* Answers the message `about` with an error; the second the way of the piece that `slice` names. */
void port_send_error(struct port_state *port, const void *id, size_t id_bytes, const Dp__Header *about,
                     const struct refusal *refusal);
void port_refuse(struct port_state *port, const struct port_session *session, const Dp__Header *about,
                 const struct refusal *refusal);

/* Calls of the shard's core. */
void port_reply_params(void *arg, const struct params *params);
void port_reply_rows(void *arg, const struct rows_params *rows);
void port_reply_refuse(void *arg, const struct refusal *refusal);

/* Once libzmq's context is terminated: frees the leases. */
void port_replies_fini(struct port_state *port);

#endif
