/* Slices of the dense tensors as pieces. Thread: the one that uses the client. */
#include "worker/client/slice.h"

#include "worker/client/state.h"

static void slice_push_fill(struct dp_client *client, const struct sent_node *node, struct message *message,
                            Dp__PushPull *body)
{
    struct slab *slab = node->value.slab;
    body->push = true;
    body->step = client->theta.step;
    body->level = node->node.level;
    body->index = node->node.index;
    body->metrics = message_metrics(message, node);
    if (!slab)
        return;
    const struct range *slice = &client->theta.slices[body->slice];
    body->read = client->theta.now_have[body->slice];
    body->slab = message_values(client, message, slab, slice->first, slice->count);
}

static void slice_send(struct dp_client *client, struct shard *shard, uint32_t slice, const struct sent_node *node,
                       bool pull)
{
    struct message message;
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    message_begin(client, &message);
    message.header.body_case = DP__HEADER__BODY_PUSH_PULL;
    message.header.push_pull = &body;
    body.slice = slice;
    if (node)
        slice_push_fill(client, node, &message, &body);
    if (pull) {
        body.pull = true;
        body.pull_step = client->theta.want;
        body.have = client->theta.now_have[slice];
    }
    (void)message_send(client, shard, slice, &message);
}

static dp_err slice_take(struct dp_client *client, struct shard *shard, const struct link_message *message,
                         bool *ret_new, dp_error *err)
{
    const Dp__Params *params = message->header->params;
    const struct theta_answer answer = {.slice = params->slice,
                                        .step = params->step,
                                        .version = params->version,
                                        .unchanged = params->unchanged,
                                        .last = params->last,
                                        .staleness = params->staleness,
                                        .accepted = params->accepted.data,
                                        .accepted_bytes = params->accepted.len,
                                        .plane = params->plane,
                                        .values = message->values,
                                        .bytes = message->bytes};
    if (params->slice - shard->first_slice >= shard->slice_count)
        return dp_fail(err, DP_PROTO, "parameters of slice %u, which is another shard's", params->slice);
    if (!params->last && params->step >= client->job.steps)
        return dp_fail(err, DP_PROTO, "parameters of step %llu, the job has %llu", (unsigned long long)params->step,
                       (unsigned long long)client->job.steps);
    dp_err e = theta_take(&client->theta, &answer, ret_new, err);
    if (e == DP_OK)
        client->carrier.ops->read(client, params->slice, params->done);
    return e;
}

const struct piece_ops PIECE_SLICE = {.send = slice_send, .take = slice_take};
