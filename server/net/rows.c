/* Messages of tables; see rows.h.
 *
 * Invariant: of a message whose lists are not all known, or that does not fit the job, nothing is taken but the lists
 * themselves. Thread: shard, but for what libzmq calls when it is done with a reply. */
#include "server/net/rows.h"

#include <stdlib.h>

#include "proto/frame_limits.h"
#include "server/shard/parts.h"
#include "server/table/copy.h"
#include "server/table/read.h"

static const uint64_t LISTS_BYTES = (uint64_t)256 << 20; /* of lists of ids that a shard keeps */

dp_err port_rows_start(struct port *port, const struct command *command, dp_error *err)
{
    if (command->part_count == 0)
        return DP_OK;
    struct frame_part *parts = mem_array(command->part_count, sizeof *parts);
    if (!parts)
        return dp_fail(err, DP_NOMEM, "out of memory for %u parts of tables", command->part_count);
    for (uint32_t i = 0; i < command->part_count; i++) {
        const struct part_range *range = &command->parts[i];
        uint32_t dim = command->job->tensors.list[range->tensor].dim;
        parts[i] = (struct frame_part){range->first, range->last, dim};
    }
    dp_err e =
        shard_rows_start(&port->shard, command->first_part, command->parts, command->part_count, LISTS_BYTES, err);
    if (e) {
        free(parts);
        return e;
    }
    /* From here on messages find parts. */
    port->rows_limits = (struct frame_rows_limits){command->first_part, command->part_count, command->job->plan.slots,
                                                   parts, plan_total(&command->job->plan)};
    port->reply_budget_bytes += 2 * (uint64_t)FRAME_ROWS_BYTES_MAX * MIN(command->part_count, 8U);
    return DP_OK;
}

void port_rows_fini(struct port *port)
{
    free((void *)port->rows_limits.parts);
    port->rows_limits = (struct frame_rows_limits){0};
}

struct rows_copy *port_rows_copy(struct port *port, uint64_t step)
{
    const struct shard_tables *tables = &port->shard.tables;
    struct rows_copy *copies = tables->count ? mem_array_zero(tables->count, sizeof *copies) : NULL;
    for (uint32_t i = 0; copies && i < tables->count; i++)
        if (!part_holds(&tables->parts[i], step) || part_copy(&tables->parts[i], step, &copies[i])) {
            while (i > 0)
                rows_copy_fini(&copies[--i]);
            free(copies);
            return NULL;
        }
    return copies;
}

/* ---- in ---- */

static void refuse(struct port *port, const struct port_session *session, const Dp__Header *about, dp_err code,
                   uint64_t keys, const char *text)
{
    const Dp__RowsPushPull *m = about->rows_push_pull;
    const struct refusal refusal = {
        .code = code, .slice = m->part, .step = m->push ? m->step : m->pull_step, .text = text, .keys = keys};
    port_refuse(port, session, about, &refusal);
}

/* The list that a message names or brings, with a reference; NULL where it is empty. */
static dp_err take_list(struct port *port, uint32_t part, const Dp__Keys *keys, zmq_msg_t *ids,
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
static dp_err check_lists(const struct port *port, const Dp__RowsPushPull *m, const struct frame_rows *at,
                          zmq_msg_t *payload, dp_error *err)
{
    const struct frame_part *part = &port->rows_limits.parts[m->part - port->rows_limits.first_part];
    dp_err e = DP_OK;
    if (at->push_ids != FRAME_NONE)
        e = frame_check_ids(zmq_msg_data(&payload[at->push_ids]), m->push_keys, part, err);
    if (!e && at->pull_ids != FRAME_NONE)
        e = frame_check_ids(zmq_msg_data(&payload[at->pull_ids]), m->pull_keys, part, err);
    return e;
}

static dp_err check(const struct port *port, const Dp__RowsPushPull *m, const struct frame_rows *at, zmq_msg_t *payload,
                    dp_error *err)
{
    size_t bytes[3] = {0};
    for (uint32_t i = 0; i < at->count; i++)
        bytes[i] = zmq_msg_size(&payload[i]);
    dp_err e = frame_check_part(m, &port->rows_limits, bytes, err);
    return e ? e : check_lists(port, m, at, payload, err);
}

static struct push_pull to_core(const struct port *port, const Dp__Header *header)
{
    const Dp__RowsPushPull *m = header->rows_push_pull;
    const struct shard_tables *tables = &port->shard.tables;
    const uint32_t part = m->part - tables->first_part;
    struct push_pull msg = {PORT_EXCHANGE(header, m), .piece = port->shard.slice_count + part};
    if (m->push)
        msg.node = steps_node(&tables->parts[part].window, m->level, m->index);
    return msg;
}

/* Both lists; on failure *ret_keys is the hash of the one that is not there. */
static dp_err take_lists(struct port *port, const Dp__RowsPushPull *m, const struct frame_rows *at, zmq_msg_t *payload,
                         struct push_pull *msg, uint64_t *ret_keys)
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

static void count_bytes(struct port *port, const struct frame_rows *at, zmq_msg_t *payload)
{
    for (uint32_t i = 0; i < at->count; i++)
        counter_add(i == at->values ? &port->counters.gradient_bytes_in : &port->counters.ids_bytes_in,
                    zmq_msg_size(&payload[i]));
}

/* The values of a push: in a slab, in the message, or none. */
static dp_err take_values(struct port *port, const struct port_session *session, const Dp__RowsPushPull *m,
                          const struct frame_rows *at, zmq_msg_t *payload, struct blob *ret_values, dp_error *err)
{
    const struct frame_part *part = &port->rows_limits.parts[m->part - port->rows_limits.first_part];
    if (!m->slab)
        return at->values != FRAME_NONE ? port_payload_take(port, &payload[at->values], ret_values) : DP_OK;
    dp_err e =
        port_shm_payload(session, m->slab, m->slab_at, (uint64_t)m->push_keys->count * part->dim, ret_values, err);
    if (e == DP_OK)
        counter_add(&port->counters.shm_bytes_in, ret_values->bytes);
    return e;
}

/* Why a message that is well-formed is not taken, in words. */
static const char *why_not(dp_err code, const dp_error *err)
{
    if (code == DP_PROTO)
        return err->text;
    return code == DP_KEYS_UNKNOWN ? "a list of rows is not known here (any more)" : "out of memory for rows";
}

void port_on_rows(struct port *port, struct port_session *session, const Dp__Header *header, zmq_msg_t *payload)
{
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
    const struct steps *window = &port->shard.tables.parts[m->part - port->shard.tables.first_part].window;
    const struct port_push push = {m->step, m->level, m->index, m->metrics, m->part, window};
    if (m->push && !port_may_push(port, session, header, &push))
        return;
    count_bytes(port, &at, payload);
    struct push_pull msg = to_core(port, header);
    if (session->shm)
        shm_ring_taken(&session->shm->ring, m->taken);
    e = take_lists(port, m, &at, payload, &msg, &keys);
    if (!e)
        e = take_values(port, session, m, &at, payload, &values, &err);
    if (e == DP_PROTO)
        port_malformed(port, &err);
    if (e)
        refuse(port, session, header, e == DP_NOMEM ? DP_BUSY : e, keys, why_not(e, &err));
    else
        shard_push_pull(&port->shard, &msg, &values);
    rowlist_release(&msg.push_list);
    rowlist_release(&msg.pull_list);
}

/* ---- out ---- */

/* Rows in flight. */
struct rows_lease {
    struct port_session *session;
    float *values;
    size_t bytes;
};

/* libzmq is done with a reply. Thread: libzmq's. */
static void lease_return(void *data, void *hint)
{
    struct rows_lease *lease = hint;
    atomic_fetch_sub_explicit(&lease->session->unsent_bytes, lease->bytes, memory_order_relaxed);
    free(data);
    free(lease);
}

/* A frame of the values, which are taken. */
static dp_err values_frame(struct port_session *session, float *values, size_t bytes, zmq_msg_t *msg)
{
    struct rows_lease *lease = mem_array(1, sizeof *lease);
    if (!lease) {
        free(values);
        return DP_NOMEM;
    }
    *lease = (struct rows_lease){session, values, bytes};
    atomic_fetch_add_explicit(&session->unsent_bytes, bytes, memory_order_relaxed);
    if (zmq_msg_init_data(msg, values, bytes, lease_return, lease)) {
        lease_return(values, lease);
        return DP_NOMEM;
    }
    return DP_OK;
}

void port_reply_rows(void *arg, const struct rows_params *rows)
{
    struct port *port = arg;
    struct port_session *session = &port->sessions[rows->session];
    Dp__Rows body = DP__ROWS__INIT;
    body.part = rows->part;
    body.step = rows->step;
    body.version = rows->number;
    body.unchanged = rows->unchanged;
    body.last = rows->last;
    body.keys = rows->keys;
    body.count = rows->count;
    Dp__Header header = DP__HEADER__INIT;
    header.session = session->token;
    header.incarnation = port->incarnation;
    header.request = rows->request;
    header.body_case = DP__HEADER__BODY_ROWS;
    header.rows = &body;
    if (session->shm)
        body.done = port->shard.tables.parts[rows->part - port->shard.tables.first_part].window.next;
    if (session->shm && rows->shared) {
        body.ring = session->shm->ring.number;
        body.ring_at = rows->at;
        counter_add(&port->counters.shm_bytes_out, rows->bytes);
    }
    if (!rows->values || rows->shared) {
        port_answer(port, session, rows->part, &header, NULL);
        return;
    }
    zmq_msg_t payload;
    if (port_over_budget(port, session)) {
        free(rows->values);
        return;
    }
    if (values_frame(session, rows->values, rows->bytes, &payload))
        return;
    counter_add(&port->counters.theta_bytes_out, rows->bytes);
    port_answer(port, session, rows->part, &header, &payload);
}
