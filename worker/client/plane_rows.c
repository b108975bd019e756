/* The messages of tables: what plane.c says about slices, said about parts.
 *
 * The values of a node have the same rows as the theta that it was computed on, whose list of ids the shard has from
 * the pull: a push names it by its hash. Rows that the node does not touch are 0 in it; other slots of the same step,
 * which made the worker ask for them, touch them, so that this changes nothing. Thread: the one that uses the client.
 */
#include "common/base/util.h"
#include "proto/frame_rows.h"
#include "worker/client/client.h"

enum { PAYLOADS_MAX = 3 };

/* A message about rows in the making. */
struct rows_message {
    Dp__Header header;
    Dp__RowsPushPull body;
    Dp__Metrics metrics;
    Dp__Keys push_keys, pull_keys;
    zmq_msg_t payload[PAYLOADS_MAX];
    size_t payload_count;
    dp_err error;
};

static void message_begin(struct dp_client *client, const struct shard *shard, uint32_t part,
                          struct rows_message *message)
{
    message->header = session_header(client);
    message->payload_count = 0;
    message->error = DP_OK;
    dp__rows_push_pull__init(&message->body);
    dp__metrics__init(&message->metrics);
    dp__keys__init(&message->push_keys);
    dp__keys__init(&message->pull_keys);
    message->header.body_case = DP__HEADER__BODY_ROWS_PUSH_PULL;
    message->header.rows_push_pull = &message->body;
    message->body.part = client->theta.slice_count + part;
    message->body.taken = share_taken(client, shard);
}

static void message_payload(struct rows_message *message, const void *data, size_t bytes, zmq_free_fn *drop, void *hint)
{
    if (message->error == DP_OK &&
        zmq_msg_init_data(&message->payload[message->payload_count], (void *)data, bytes, drop, hint))
        message->error = DP_NOMEM;
    else if (message->error == DP_OK)
        message->payload_count++;
}

/* Names a list; brings it along where the shard does not know it. */
static void message_keys(struct dp_client *client, uint32_t part, struct row_list *list, Dp__Keys *keys,
                         struct rows_message *message)
{
    const struct row_span *span = &list->spans[part];
    keys->hash = span->hash;
    keys->count = span->count;
    keys->sent = span->count > 0 && !keys_known(&client->tables, part, span->hash);
    if (!keys->sent)
        return;
    row_list_keep(list);
    message_payload(message, span->ids, span->count * sizeof *span->ids, row_list_drop_message, list);
    if (message->error)
        row_list_drop(list);
    else
        keys_sent(&client->tables, part, span->hash);
}

static void message_push(struct dp_client *client, uint32_t part, const struct sent_node *node,
                         struct rows_message *message)
{
    const struct node_value *value = &node->value;
    plane_metrics(node, &message->metrics);
    message->body.push = true;
    message->body.step = client->theta.step;
    message->body.level = node->node.level;
    message->body.index = node->node.index;
    message->body.metrics = &message->metrics;
    if (!value->slab || value->list->spans[part].count == 0)
        return;
    const struct row_span *span = &value->list->spans[part];
    message->body.push_keys = &message->push_keys;
    message_keys(client, part, value->list, &message->push_keys, message);
    message->body.slab = share_name(client, value->slab);
    if (message->body.slab) {
        message->body.slab_at = client->theta.elems + span->float_at;
        return;
    }
    slab_keep(value->slab);
    message_payload(message, value->slab->values + client->theta.elems + span->float_at, span->floats * sizeof(float),
                    slab_drop_message, value->slab);
    if (message->error)
        slab_drop(value->slab);
}

static void message_pull(struct dp_client *client, uint32_t part, uint64_t step, struct row_list *list,
                         struct rows_message *message)
{
    const struct row_span *span = &list->spans[part];
    const Dp__Keys *pushed = message->body.push_keys;
    message->body.pull = true;
    message->body.pull_step = step;
    if (pushed && pushed->hash == span->hash && pushed->count == span->count)
        return;
    message->body.pull_keys = &message->pull_keys;
    message_keys(client, part, list, &message->pull_keys, message);
}

static void message_send(struct dp_client *client, struct shard *shard, struct rows_message *message)
{
    if (message->error == DP_OK)
        message->error = link_send(shard_lane(client, shard, message->body.part), &message->header, message->payload,
                                   message->payload_count);
    else
        for (size_t i = 0; i < message->payload_count; i++)
            zmq_msg_close(&message->payload[i]);
    if (message->error == DP_OK)
        return;
    /* What was not sent is not known. */
    uint32_t part = message->body.part - client->theta.slice_count;
    keys_forget(&client->tables, part, message->push_keys.hash);
    keys_forget(&client->tables, part, message->pull_keys.hash);
    plane_resend_later(client, shard);
}

void rows_send(struct dp_client *client, struct shard *shard, uint32_t part, const struct sent_node *node, bool pull)
{
    struct rows_message message;
    message_begin(client, shard, part, &message);
    if (node)
        message_push(client, part, node, &message);
    if (pull)
        message_pull(client, part, client->theta.want, client->tables.wanted.list, &message);
    message_send(client, shard, &message);
}

void rows_pull_more(struct dp_client *client, struct shard *shard)
{
    const struct row_group *group = client->tables.more;
    for (uint32_t i = 0; group && group->lacking > 0 && i < shard->part_count; i++) {
        uint32_t part = shard->first_part + i;
        struct rows_message message;
        if (group->got[part])
            continue;
        message_begin(client, shard, part, &message);
        message_pull(client, part, client->theta.step, group->list, &message);
        message_send(client, shard, &message);
    }
}

/* Where an answer's values are; NULL and no bytes where it has none. False: it was overtaken. */
static dp_err values_find(struct dp_client *client, const struct shard *shard, const struct link_message *message,
                          struct rows_answer *answer, bool *ret_there, dp_error *err)
{
    const Dp__Rows *rows = message->header->rows;
    const struct row_layout *layout = &client->tables.layout;
    *ret_there = true;
    if (!rows->ring) {
        answer->values = message->values;
        answer->bytes = message->values ? message->bytes : 0;
        return DP_OK;
    }
    answer->bytes = (size_t)rows->count * layout->tables[layout->parts[answer->part].table].dim * sizeof(float);
    dp_err e = share_rows(client, shard, rows, answer->bytes, &answer->values, err);
    *ret_there = answer->values != NULL;
    return e;
}

dp_err rows_take(struct dp_client *client, struct shard *shard, const struct link_message *message, bool *ret_new,
                 dp_error *err)
{
    const Dp__Rows *rows = message->header->rows;
    struct rows_answer answer = {.part = rows->part - client->theta.slice_count,
                                 .step = rows->step,
                                 .keys = rows->keys,
                                 .count = rows->count,
                                 .last = rows->last};
    bool there;
    if (answer.part - shard->first_part >= shard->part_count)
        return dp_fail(err, DP_PROTO, "rows of part %u, which is another shard's", rows->part);
    if (rows->unchanged)
        return dp_fail(err, DP_PROTO, "rows of part %u are said to be unchanged, but we hold none", rows->part);
    dp_err e = values_find(client, shard, message, &answer, &there, err);
    if (e || !there)
        return e;
    e = tables_take(&client->tables, &client->theta, &answer, ret_new, err);
    if (rows->ring)
        share_rows_taken(client, shard, rows->ring_at + answer.bytes);
    if (e == DP_OK)
        share_take(client, rows->part, rows->done);
    return e;
}

void rows_keys_unknown(struct dp_client *client, const Dp__Error *error)
{
    uint32_t part = error->slice - client->theta.slice_count;
    if (part < client->tables.layout.part_count)
        keys_forget(&client->tables, part, error->keys);
}
