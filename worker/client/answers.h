/* Messages of the shards: answers to pulls, to questions, and refusals. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_ANSWERS_H
#define DP_WORKER_CLIENT_ANSWERS_H

#include "worker/dp.h"

/* Takes the messages of the shards that are there, up to the one that makes theta whole. DP_PROTO. */
DP_MUST_CHECK dp_err answers_drain(struct dp_client *client, dp_error *err);

#endif
