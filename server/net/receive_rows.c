/* Messages about tables; see receive_rows.h.
 *
 * Invariant: of a message whose lists are not all known, or that does not fit the job, nothing is taken but the lists
 * themselves. Thread: shard. */
#include "server/net/receive_rows.h"

#include "common/base/mem.h"
#include "server/net/carrier.h"
#include "server/net/push.h"
#include "server/net/reply.h"
#include "server/shard/parts.h"
#include "server/shard/shard.h"

static void refuse(struct port_state *port, const struct port_session *session, const Dp__Header *about, dp_err code,
                   uint64_t keys, const char *text)
{
    const Dp__RowsPushPull *m = about->rows_push_pull;
    const struct refusal refusal = {
        .code = code, .slice = m->part, .step = m->push ? m->step : m->pull_step, .text = text, .keys = keys};
    port_refuse(port, session, about, &refusal);
}

/* The list that a message names or brings, with a reference; NULL where it is empty. */
static dp_err take_list(struct port_state *port, uint32_t part, const Dp__Keys *keys, zmq_msg_t *ids,
                        struct rowlist **ret_list)
{
    if (!keys || keys->count == 0)
        return DP_OK;
    if (keys->sent)
        *ret_list = shard_rows_learn(&port->shard, part, keys->hash, keys->count, zmq_msg_data(ids));
    else
        *ret_list = rowlist_retain(shard_rows_known(&port->shard, part, keys->hash, keys->count));
    if (*ret_list)
        return DP_OK;
    return keys->sent ? DP_BUSY : DP_KEYS_UNKNOWN;
}

/* The lists that come along are well-formed. */
static dp_err check_lists(const struct port_state *port, const Dp__RowsPushPull *m, const struct frame_rows *at,
                          zmq_msg_t *payload, dp_error *err)
{
    const struct frame_part *part = &port->limits.rows.parts[m->part - port->limits.rows.first_part];
    dp_err e = DP_OK;
    if (at->push_ids != FRAME_NONE)
        e = frame_check_ids(zmq_msg_data(&payload[at->push_ids]), m->push_keys, part, err);
    if (!e && at->pull_ids != FRAME_NONE)
        e = frame_check_ids(zmq_msg_data(&payload[at->pull_ids]), m->pull_keys, part, err);
    return e;
}

static dp_err check(const struct port_state *port, const Dp__RowsPushPull *m, const struct frame_rows *at,
                    zmq_msg_t *payload, dp_error *err)
{
    size_t bytes[3] = {0};
    for (uint32_t i = 0; i < at->count; i++)
        bytes[i] = zmq_msg_size(&payload[i]);
    dp_err e = frame_check_part(m, &port->limits.rows, bytes, err);
    return e ? e : check_lists(port, m, at, payload, err);
}

/* Both lists; on failure *ret_keys is the hash of the one that is not there. */
static dp_err take_lists(struct port_state *port, const Dp__RowsPushPull *m, const struct frame_rows *at,
                         zmq_msg_t *payload, struct push_pull *msg, uint64_t *ret_keys)
{
    const uint32_t part = m->part - port->shard.tables.first_part;
    zmq_msg_t *push_ids = at->push_ids != FRAME_NONE ? &payload[at->push_ids] : NULL;
    zmq_msg_t *pull_ids = at->pull_ids != FRAME_NONE ? &payload[at->pull_ids] : NULL;
    dp_err e = take_list(port, part, m->push_keys, push_ids, &msg->push_list);
    if (e) {
        *ret_keys = m->push_keys->hash;
        return e;
    }
    if (!m->pull_keys) {
        msg->pull_list = m->pull ? rowlist_retain(msg->push_list) : NULL;
        return DP_OK;
    }
    e = take_list(port, part, m->pull_keys, pull_ids, &msg->pull_list);
    if (e)
        *ret_keys = m->pull_keys->hash;
    return e;
}

static void count_bytes(struct port_state *port, const struct frame_rows *at, zmq_msg_t *payload)
{
    for (uint32_t i = 0; i < at->count; i++)
        counter_add(i == at->values ? &port->counters->gradient_bytes_in : &port->counters->ids_bytes_in,
                    zmq_msg_size(&payload[i]));
}

static dp_err take_values(struct port_state *port, const struct port_session *session,
                          const struct port_message *message, const struct frame_rows *at, zmq_msg_t *payload,
                          struct blob *ret_values, dp_error *err)
{
    const Dp__RowsPushPull *m = message->header->rows_push_pull;
    const struct frame_part *part = &port->limits.rows.parts[m->part - port->limits.rows.first_part];
    const struct carrier_push push = {m->slab, m->slab_at, m->push_keys ? (uint64_t)m->push_keys->count * part->dim : 0,
                                      at->values != FRAME_NONE ? &payload[at->values] : NULL};
    return session->carrier->take(port, session, &push, ret_values, err);
}

/* Why a message that is well-formed is not taken, in words. */
static const char *why_not(dp_err code, const dp_error *err)
{
    if (code == DP_PROTO)
        return err->text;
    return code == DP_KEYS_UNKNOWN ? "a list of rows is not known here (any more)" : "out of memory for rows";
}

void port_on_rows(struct port_state *port, const struct port_session *session, const struct port_message *message,
                  zmq_msg_t *payload)
{
    const Dp__Header *header = message->header;
    const Dp__RowsPushPull *m = header->rows_push_pull;
    struct frame_rows at = frame_rows_of(m);
    struct blob values = {0};
    uint64_t keys = 0;
    dp_error err;
    dp_err e = check(port, m, &at, payload, &err);
    if (e) {
        port_malformed(port, &err);
        refuse(port, session, header, e, 0, err.text);
        return;
    }
    if (m->push && !port_may_push(port, session, message))
        return;
    count_bytes(port, &at, payload);
    struct push_pull msg = port_to_core(&port->shard, message);
    session->carrier->done_rows(session, m->taken);
    e = take_lists(port, m, &at, payload, &msg, &keys);
    if (!e)
        e = take_values(port, session, message, &at, payload, &values, &err);
    if (e == DP_PROTO)
        port_malformed(port, &err);
    if (e)
        refuse(port, session, header, e == DP_NOMEM ? DP_BUSY : e, keys, why_not(e, &err));
    else
        shard_push_pull(&port->shard, &msg, &values);
    rowlist_release(&msg.push_list);
    rowlist_release(&msg.pull_list);
}
