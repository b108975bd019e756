/* The plane's connections, opened and closed, and the memory that theta takes. The caller finds the shards.
 *
 * Order: plane_cut, plane_reserve, plane_connect for each shard with parameters, carrier_open, plane_greet; then
 * messages may be sent, until plane_disconnect. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_CONNECT_H
#define DP_WORKER_CLIENT_PLANE_CONNECT_H

#include "worker/client/plane/plane.h"

/* Whether theta is cut as the layout says. */
bool plane_fits(const struct plane *plane, const struct job_layout *layout);
/* Cuts theta and the tables by the layout, and takes its slices; theta keeps what it has if plane_fits. DP_NOMEM. */
DP_MUST_CHECK dp_err plane_cut(struct plane *plane, struct job_layout *layout, dp_error *err);
/* DP_SYSTEM: this process may not open the descriptors that the shards need. */
DP_MUST_CHECK dp_err plane_check_files(const struct job_layout *layout, dp_error *err);
/* Room for the shards of the layout. DP_NOMEM. */
DP_MUST_CHECK dp_err plane_reserve(struct plane *plane, const struct job_layout *layout, dp_error *err);
/* Connects to a shard at a numeric address; people know it by `name`. DP_SYSTEM. */
DP_MUST_CHECK dp_err plane_connect(struct plane *plane, void *zmq, const struct job_shard *from, const char *name,
                                   const struct endpoint *address, dp_error *err);
/* All shards are connected: greets them. The plane's waits look at the head's link too. DP_NOMEM. */
DP_MUST_CHECK dp_err plane_greet(struct plane *plane, struct link *head, dp_error *err);
/* DP_NOMEM: theta and a gradient do not fit into the memory that this process may have. */
DP_MUST_CHECK dp_err plane_check_memory(const struct plane *plane, dp_error *err);
/* Closes the connections, and gives up what the carrier was lent; carrier_return_theta comes first. */
void plane_disconnect(struct plane *plane);

#endif
