/* The shards of the job: found, connected to, and left again. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_SHARDS_H
#define DP_WORKER_CLIENT_SHARDS_H

#include "worker/dp.h"

/* Connects the plane to the shards of client->head.layout, and takes over its slices. As shard_reach, carrier_open;
 * DP_NOMEM. */
DP_MUST_CHECK dp_err shards_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err);
/* Closes the connections; theta and what was sent stay, unless theta is lost with the memory that was shared. */
void shards_close(struct dp_client *client);

#endif
