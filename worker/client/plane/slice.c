/* Slices of the dense tensors as pieces. Thread: the one that uses the client. */
#include "worker/client/plane/slice.h"

#include "worker/client/plane/plane.h"

static void slice_push_fill(struct plane *plane, const struct sent_node *node, struct message *message,
                            Dp__PushPull *body)
{
    struct slab *slab = node->value.slab;
    body->push = true;
    body->step = plane->theta.step;
    body->level = node->node.level;
    body->index = node->node.index;
    body->metrics = message_metrics(message, node);
    if (!slab)
        return;
    const struct range *slice = &plane->theta.slices[body->slice];
    body->read = plane->theta.now_have[body->slice];
    body->slab = message_values(plane, message, slab, slice->first, slice->count);
}

static void slice_send(struct plane *plane, struct shard *shard, uint32_t slice, const struct sent_node *node,
                       bool pull)
{
    struct message message;
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    message_begin(plane, &message);
    message.header.body_case = DP__HEADER__BODY_PUSH_PULL;
    message.header.push_pull = &body;
    body.slice = slice;
    if (node)
        slice_push_fill(plane, node, &message, &body);
    if (pull) {
        body.pull = true;
        body.pull_step = plane->theta.want;
        body.have = plane->theta.now_have[slice];
    }
    (void)message_send(plane, shard, slice, &message);
}

static dp_err slice_take(struct plane *plane, struct shard *shard, const struct link_message *message, bool *ret_new,
                         dp_error *err)
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
    if (!params->last && params->step >= plane->job->steps)
        return dp_fail(err, DP_PROTO, "parameters of step %llu, the job has %llu", (unsigned long long)params->step,
                       (unsigned long long)plane->job->steps);
    dp_err e = theta_take(&plane->theta, &answer, ret_new, err);
    if (e == DP_OK)
        plane->carrier.ops->read(plane, params->slice, params->done);
    return e;
}

const struct piece_ops PIECE_SLICE = {.send = slice_send, .take = slice_take};
