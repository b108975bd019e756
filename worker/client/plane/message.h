/* A message to a shard about a piece, in the making: header, what a push says of a node, payloads that are not copied.
 * Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_MESSAGE_H
#define DP_WORKER_CLIENT_PLANE_MESSAGE_H

#include <zmq.h>

#include "proto/frame.h"
#include "worker/client/plane/shard.h"
#include "worker/client/state/slab.h"
#include "worker/client/state/values.h"

enum { MESSAGE_PAYLOADS_MAX = 3 };

struct message {
    Dp__Header header;
    Dp__Metrics metrics;
    zmq_msg_t payload[MESSAGE_PAYLOADS_MAX];
    size_t payload_count;
    dp_err error; /* the first; the message is not sent then */
};

/* A message of this session without a body. */
void message_begin(struct plane *plane, struct message *message);
/* Samples and loss of a node; the metrics that a body refers to. */
Dp__Metrics *message_metrics(struct message *message, const struct sent_node *node);
/* Adds memory, which is kept until drop(data, hint) is called, in case of an error at once. */
void message_payload(struct message *message, const void *data, size_t bytes, zmq_free_fn *drop, void *hint);
/* Values [first, first + count) of a slab, as the carrier takes them: the slab's number for the body, or 0 where they
 * have become a payload. The slab is kept until they have left. */
uint32_t message_values(struct plane *plane, struct message *message, struct slab *slab, uint64_t first,
                        uint64_t count);
/* Sends it to the shard that has the piece. False: it was not sent, and is due again later. */
bool message_send(struct plane *plane, struct shard *shard, uint32_t piece, struct message *message);

#endif
