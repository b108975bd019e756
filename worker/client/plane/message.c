/* A message to a shard about a piece. Thread: the one that uses the client. */
#include "worker/client/plane/message.h"

#include <assert.h>

#include "worker/client/plane/plane.h"

void message_begin(struct plane *plane, struct message *message)
{
    message->header = session_header(plane->session);
    message->payload_count = 0;
    message->error = DP_OK;
    dp__metrics__init(&message->metrics);
}

Dp__Metrics *message_metrics(struct message *message, const struct sent_node *node)
{
    message->metrics.count = node->value.metrics.count;
    message->metrics.loss = node->value.metrics.loss;
    message->metrics.correct = node->value.metrics.correct;
    return &message->metrics;
}

void message_payload(struct message *message, const void *data, size_t bytes, zmq_free_fn *drop, void *hint)
{
    assert(message->payload_count < MESSAGE_PAYLOADS_MAX);
    if (message->error == DP_OK &&
        zmq_msg_init_data(&message->payload[message->payload_count], (void *)data, bytes, drop, hint))
        message->error = DP_NOMEM;
    if (message->error)
        drop((void *)data, hint);
    else
        message->payload_count++;
}

uint32_t message_values(struct plane *plane, struct message *message, struct slab *slab, uint64_t first, uint64_t count)
{
    uint32_t number = plane->carrier.ops->push(plane, slab);
    if (number > 0)
        return number;
    slab_keep(slab);
    message_payload(message, slab->values + first, count * sizeof *slab->values, slab_drop_message, slab);
    return 0;
}

bool message_send(struct plane *plane, struct shard *shard, uint32_t piece, struct message *message)
{
    if (message->error == DP_OK) {
        message->error = shard_post(plane, shard, piece, &message->header, message->payload, message->payload_count);
        return message->error == DP_OK;
    }
    for (size_t i = 0; i < message->payload_count; i++)
        zmq_msg_close(&message->payload[i]);
    shard_resend_later(plane, shard);
    return false;
}
