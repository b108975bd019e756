/* Sessions that share memory, and their carrier. Thread: shard. */
#ifndef DP_SERVER_NET_SHM_H
#define DP_SERVER_NET_SHM_H

#include "server/net/carrier.h"

extern const struct carrier carrier_shm;

/* Before the shard starts: makes the memory for its versions. With SHM_ON the reason why it cannot be had, else that is
 * logged. */
DP_MUST_CHECK dp_err port_shm_start(struct port_state *port, const struct command_start *start, dp_error *err);
/* Before a message of the session is looked at: whether it reads shared memory by now. */
void port_shm_hear(struct port_state *port, const struct port_session *session);
/* The session is over by fence number `fence`. */
void port_shm_fence(struct port_state *port, struct port_session *session, uint64_t fence);
/* All shards know the fences up to `known`: takes back what those sessions were lent. */
void port_shm_fenced(struct port_state *port, uint64_t known);
/* shard_calls.room: in the session's ring; `arg` is the port_state. */
float *port_room(void *arg, uint32_t number, uint64_t bytes, uint64_t *ret_at);
/* Before the shard's slices are freed. */
void port_shm_fini(struct port_state *port);

#endif
