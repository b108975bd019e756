/* The tables of a shard's job: bounds for messages, and copies. Thread: shard. */
#ifndef DP_SERVER_NET_TABLES_H
#define DP_SERVER_NET_TABLES_H

#include "server/net/state.h"

/* The job is settled: the shard's parts, if it has any, after shard_start. DP_NOMEM. */
DP_MUST_CHECK dp_err port_tables_start(struct port_state *port, const struct command_start *start, dp_error *err);
void port_tables_fini(struct port_state *port);
/* All rows at a step, for each part: heap; NULL if the shard has no parts, or out of memory. */
struct rows_copy *port_tables_copy(struct port_state *port, uint64_t step);

#endif
