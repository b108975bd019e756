/* Sending again only what is lost: a shard is asked for it. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_ASK_H
#define DP_WORKER_CLIENT_PLANE_ASK_H

#include "proto/frame.h"
#include "worker/client/plane/shard.h"

/* A connection that is new: lets the server know whose it is. It closes those that have said nothing for a minute. */
void ask_greet(struct plane *plane, struct shard *shard, uint32_t lane);
/* Whether the shard is asked before anything is sent to it again; `lost`: a connection was made anew, or it refused
 * something. */
bool ask_first(const struct plane *plane, const struct shard *shard, bool lost);
/* Asks about all pieces that are missing, on arrival about all that were pushed to. */
void ask_send(struct plane *plane, struct shard *shard);
/* An answer: sends again what the shard lacks. */
void ask_take(struct plane *plane, struct shard *shard, const Dp__Header *header);

#endif
