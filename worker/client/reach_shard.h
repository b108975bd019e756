/* Finding a shard. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_REACH_SHARD_H
#define DP_WORKER_CLIENT_REACH_SHARD_H

#include "common/net/endpoint.h"
#include "worker/dp.h"

/* Finds an address of a shard. If that fails, the user is told, the session is ended with the reason, and it is tried
 * until the deadline, at first until --connect-timeout: DP_UNREACHABLE then, naming the shard; DP_HELLO_REQUIRED if
 * it can be reached after all, for a session anew, or if the head cannot. */
DP_MUST_CHECK dp_err shard_reach(struct dp_client *client, uint32_t number, const struct endpoint *endpoint,
                                 uint64_t deadline_ms, struct endpoint *ret_address, dp_error *err);

#endif
