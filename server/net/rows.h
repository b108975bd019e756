/* Messages of tables on a shard's port. Thread: shard. */
#ifndef DP_SERVER_NET_ROWS_H
#define DP_SERVER_NET_ROWS_H

#include "proto/frame_rows.h"
#include "server/net/thread.h"

/* The job is settled: the shard's parts, if it has any, after shard_start. DP_NOMEM. */
DP_MUST_CHECK dp_err port_rows_start(struct port *port, const struct command *command, dp_error *err);
void port_rows_fini(struct port *port);
/* A parsed RowsPushPull of a known session, with its payload frames. */
void port_on_rows(struct port *port, struct port_session *session, const Dp__Header *header, zmq_msg_t *payload);
/* All rows at a step, for each part: heap, NULL where there are none or no memory for them. */
struct rows_copy *port_rows_copy(struct port *port, uint64_t step);
/* shard_calls.rows */
void port_reply_rows(void *arg, const struct rows_params *rows);

#endif
