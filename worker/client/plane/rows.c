/* Parts of tables as pieces.
 *
 * The values of a node have the same rows as the theta that it was computed on, whose list of ids the shard has from
 * the pull: a push names it by its hash. Rows that the node does not touch are 0 in it; other slots of the same step,
 * which made the worker ask for them, touch them, so that this changes nothing. Thread: the one that uses the client.
 */
#include "worker/client/plane/rows.h"

#include "proto/frame_rows.h"
#include "worker/client/plane/plane.h"

/* A message about rows in the making. */
struct rows_message {
    struct message base;
    Dp__RowsPushPull body;
    Dp__Keys push_keys, pull_keys;
};

static void rows_begin(struct plane *plane, const struct shard *shard, uint32_t part, struct rows_message *message)
{
    message_begin(plane, &message->base);
    dp__rows_push_pull__init(&message->body);
    dp__keys__init(&message->push_keys);
    dp__keys__init(&message->pull_keys);
    message->base.header.body_case = DP__HEADER__BODY_ROWS_PUSH_PULL;
    message->base.header.rows_push_pull = &message->body;
    message->body.part = plane->theta.slice_count + part;
    message->body.taken = plane->carrier.ops->rows_end(plane, shard);
}

/* Names a list; brings it along if the shard does not know it. */
static void rows_keys(struct plane *plane, uint32_t part, struct row_list *list, Dp__Keys *keys,
                      struct rows_message *message)
{
    const struct row_span *span = &list->spans[part];
    keys->hash = span->hash;
    keys->count = span->count;
    keys->sent = span->count > 0 && !keys_known(&plane->tables, part, span->hash);
    if (!keys->sent)
        return;
    row_list_keep(list);
    message_payload(&message->base, span->ids, span->count * sizeof *span->ids, row_list_drop_message, list);
    if (message->base.error == DP_OK)
        keys_sent(&plane->tables, part, span->hash);
}

static void rows_push(struct plane *plane, uint32_t part, const struct sent_node *node, struct rows_message *message)
{
    const struct node_value *value = &node->value;
    message->body.push = true;
    message->body.step = plane->theta.step;
    message->body.level = node->node.level;
    message->body.index = node->node.index;
    message->body.metrics = message_metrics(&message->base, node);
    if (!value->slab || value->list->spans[part].count == 0)
        return;
    const struct row_span *span = &value->list->spans[part];
    const uint64_t at = plane->theta.elems + span->float_at;
    message->body.push_keys = &message->push_keys;
    rows_keys(plane, part, value->list, &message->push_keys, message);
    message->body.slab = message_values(plane, &message->base, value->slab, at, span->floats);
    if (message->body.slab)
        message->body.slab_at = at;
}

static void rows_pull(struct plane *plane, uint32_t part, uint64_t step, struct row_list *list,
                      struct rows_message *message)
{
    const struct row_span *span = &list->spans[part];
    const Dp__Keys *pushed = message->body.push_keys;
    message->body.pull = true;
    message->body.pull_step = step;
    if (pushed && pushed->hash == span->hash && pushed->count == span->count)
        return;
    message->body.pull_keys = &message->pull_keys;
    rows_keys(plane, part, list, &message->pull_keys, message);
}

static void rows_message_send(struct plane *plane, struct shard *shard, struct rows_message *message)
{
    if (message_send(plane, shard, message->body.part, &message->base))
        return;
    /* The shard does not know a list that was not sent. */
    uint32_t part = message->body.part - plane->theta.slice_count;
    keys_forget(&plane->tables, part, message->push_keys.hash);
    keys_forget(&plane->tables, part, message->pull_keys.hash);
}

static void part_send(struct plane *plane, struct shard *shard, uint32_t part, const struct sent_node *node, bool pull)
{
    struct rows_message message;
    rows_begin(plane, shard, part, &message);
    if (node)
        rows_push(plane, part, node, &message);
    if (pull)
        rows_pull(plane, part, plane->theta.want, plane->tables.wanted.list, &message);
    rows_message_send(plane, shard, &message);
}

static bool part_lacks(const struct plane *plane, uint32_t part)
{
    return tables_lacks(&plane->tables, part, 1);
}

static void part_pull_more(struct plane *plane, struct shard *shard, uint32_t part)
{
    struct rows_message message;
    rows_begin(plane, shard, part, &message);
    rows_pull(plane, part, plane->theta.step, plane->tables.more->list, &message);
    rows_message_send(plane, shard, &message);
}

/* Finds an answer's values; NULL and no bytes if it has none. False: it was overtaken. */
static dp_err values_find(struct plane *plane, const struct shard *shard, const struct link_message *message,
                          struct rows_answer *answer, bool *ret_there, dp_error *err)
{
    const Dp__Rows *rows = message->header->rows;
    const struct row_layout *layout = &plane->tables.layout;
    *ret_there = true;
    if (!rows->ring) {
        answer->values = message->values;
        answer->bytes = message->values ? message->bytes : 0;
        return DP_OK;
    }
    answer->bytes = (size_t)rows->count * layout->tables[layout->parts[answer->part].table].dim * sizeof(float);
    dp_err e = plane->carrier.ops->rows(plane, shard, rows, answer->bytes, &answer->values, err);
    *ret_there = answer->values != NULL;
    return e;
}

static dp_err part_take(struct plane *plane, struct shard *shard, const struct link_message *message, bool *ret_new,
                        dp_error *err)
{
    const Dp__Rows *rows = message->header->rows;
    struct rows_answer answer = {.part = rows->part - plane->theta.slice_count,
                                 .step = rows->step,
                                 .keys = rows->keys,
                                 .count = rows->count,
                                 .last = rows->last};
    bool there;
    if (answer.part - shard->first_part >= shard->part_count)
        return dp_fail(err, DP_PROTO, "rows of part %u, which is another shard's", rows->part);
    if (rows->unchanged)
        return dp_fail(err, DP_PROTO, "rows of part %u are said to be unchanged, but we hold none", rows->part);
    dp_err e = values_find(plane, shard, message, &answer, &there, err);
    if (e || !there)
        return e;
    e = tables_take(&plane->tables, &plane->theta, &answer, ret_new, err);
    if (rows->ring)
        plane->carrier.ops->rows_read(plane, shard, rows->ring_at + answer.bytes);
    if (e == DP_OK)
        plane->carrier.ops->read(plane, rows->part, rows->done);
    return e;
}

static void part_forget(struct plane *plane, uint32_t part, uint64_t keys)
{
    keys_forget(&plane->tables, part, keys);
}

const struct piece_ops PIECE_PART = {
    .send = part_send, .take = part_take, .lacks = part_lacks, .pull_more = part_pull_more, .forget = part_forget};
