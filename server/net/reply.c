/* A shard's answers: theta, which replies refer to, rows, and errors; see reply.h.
 *
 * Invariant: what a reply refers to (version, lease) is given back exactly once, by libzmq's free callback, from
 * whatever thread. Thread: shard, unless stated. */
#include "server/net/reply.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "server/net/carrier.h"

/* A version that a reply in flight refers to. */
struct reply_lease {
    struct reply_lease *next;
    struct port_state *port;
    struct version *version;
    struct port_session *session;
    uint64_t bytes;
};

/* libzmq is done with a reply. Thread: libzmq's. */
static void lease_return(void *data, void *hint)
{
    (void)data;
    struct reply_lease *lease = hint;
    struct port_state *port = lease->port;
    version_release(lease->version);
    atomic_fetch_sub_explicit(&lease->session->unsent_bytes, lease->bytes, memory_order_relaxed);
    lease->next = atomic_load_explicit(&port->replies.returned, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&port->replies.returned, &lease->next, lease, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

static struct reply_lease *lease_take(struct port_state *port)
{
    if (!port->replies.leases)
        port->replies.leases = atomic_exchange_explicit(&port->replies.returned, NULL, memory_order_acquire);
    struct reply_lease *lease = port->replies.leases;
    if (lease)
        port->replies.leases = lease->next;
    else
        lease = mem_array(1, sizeof *lease);
    return lease;
}

/* A frame that refers to the version's floats. */
static dp_err payload_frame(struct port_state *port, struct port_session *session, struct version *version,
                            size_t bytes, zmq_msg_t *msg)
{
    struct reply_lease *lease = lease_take(port);
    if (!lease)
        return DP_NOMEM;
    *lease = (struct reply_lease){NULL, port, version, session, bytes};
    version_retain(version);
    atomic_fetch_add_explicit(&session->unsent_bytes, bytes, memory_order_relaxed);
    if (zmq_msg_init_data(msg, version->theta, bytes, lease_return, lease)) {
        lease_return(NULL, lease);
        return DP_NOMEM;
    }
    return DP_OK;
}

static dp_err header_frame(const Dp__Header *header, zmq_msg_t *msg)
{
    if (zmq_msg_init_size(msg, frame_size(header)))
        return DP_NOMEM;
    frame_write(header, zmq_msg_data(msg));
    return DP_OK;
}

static dp_err id_frame(const void *id, size_t bytes, zmq_msg_t *msg)
{
    if (zmq_msg_init_size(msg, bytes))
        return DP_NOMEM;
    memcpy(zmq_msg_data(msg), id, bytes);
    return DP_OK;
}

/* Sends a header, and `payload` behind it unless NULL. A peer that is gone, or out of memory here, loses the reply: it
 * asks again. */
static void send_frames(struct port_state *port, const void *id, size_t id_bytes, const Dp__Header *header,
                        zmq_msg_t *payload)
{
    zmq_msg_t frames[3];
    if (id_frame(id, id_bytes, &frames[0]))
        goto no_id;
    if (header_frame(header, &frames[1]))
        goto no_header;
    if (payload) {
        zmq_msg_init(&frames[2]);
        zmq_msg_move(&frames[2], payload);
    }
    counter_add(&port->counters->header_bytes_out, zmq_msg_size(&frames[1]));
    dp_err e = zuv_send(&port->zuv, frames, payload ? 3 : 2);
    if (e == DP_BUSY)
        counter_add(&port->counters->unread, 1);
    if (e)
        log_debug("reply-lost shard=%u reason=%s", port->id, dp_err_name(e));
    return;
no_header:
    zmq_msg_close(&frames[0]);
no_id:
    if (payload)
        zmq_msg_close(payload);
}

Dp__Header port_header(const struct port_state *port, uint64_t token, uint64_t request)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = token;
    header.incarnation = port->incarnation;
    header.request = request;
    return header;
}

void port_send_error(struct port_state *port, const void *id, size_t id_bytes, const Dp__Header *about,
                     const struct refusal *refusal)
{
    Dp__Error error = DP__ERROR__INIT;
    error.code = (uint32_t)refusal->code;
    error.text = (char *)refusal->text;
    error.step = refusal->step;
    error.slice = refusal->slice;
    error.keys = refusal->keys;
    error.not_dealt = refusal->not_dealt;
    error.accepted = (ProtobufCBinaryData){refusal->accepted_bytes, (uint8_t *)refusal->accepted};
    Dp__Header header = port_header(port, about->session, about->request);
    header.body_case = DP__HEADER__BODY_ERROR;
    header.error = &error;
    send_frames(port, id, id_bytes, &header, NULL);
}

void port_answer(struct port_state *port, const struct port_session *session, uint32_t piece, const Dp__Header *header,
                 zmq_msg_t *payload)
{
    const struct port_way *way = &session->ways[piece % FRAME_LANES];
    send_frames(port, way->id, way->id_bytes, header, payload);
}

void port_refuse(struct port_state *port, const struct port_session *session, const Dp__Header *about,
                 const struct refusal *refusal)
{
    const struct port_way *way = &session->ways[refusal->slice % FRAME_LANES];
    port_send_error(port, way->id, way->id_bytes, about, refusal);
}

/* A peer that does not read its replies is not served beyond a budget, of bytes that replies hold of versions here and
 * of messages in its queue; it asks again when it is back. */
static bool over_budget(struct port_state *port, struct port_session *session)
{
    if (atomic_load_explicit(&session->unsent_bytes, memory_order_relaxed) <= port->replies.budget_bytes)
        return false;
    counter_add(&port->counters->unread, 1);
    uint64_t left_out;
    if (log_limit_pass(&port->replies.budget_limit, mono_ms(), &left_out))
        log_warn("peer-does-not-read shard=%u session=%u budget_bytes=%" PRIu64 " more=%" PRIu64, port->id,
                 session_number(session->token), port->replies.budget_bytes, left_out);
    return true;
}

void port_reply_params(void *arg, const struct params *params)
{
    struct port_state *port = arg;
    struct port_session *session = &port->sessions[params->session];
    Dp__Params body = DP__PARAMS__INIT;
    body.slice = params->slice;
    body.step = params->step;
    body.version = params->number;
    body.last = params->last;
    body.unchanged = !params->version && !params->last;
    body.staleness = params->staleness;
    body.accepted = (ProtobufCBinaryData){params->accepted_bytes, (uint8_t *)params->accepted};
    Dp__Header header = port_header(port, session->token, params->request);
    header.body_case = DP__HEADER__BODY_PARAMS;
    header.params = &body;
    uint32_t slice = params->slice - port->shard.first_slice;
    size_t bytes = (size_t)port->limits.slice_elems[slice] * sizeof(float);
    if (session->carrier->lend(port, session, params, &body) || !params->version) {
        port_answer(port, session, params->slice, &header, NULL);
        return;
    }
    zmq_msg_t payload;
    if (over_budget(port, session) || payload_frame(port, session, params->version, bytes, &payload))
        return;
    counter_add(&port->counters->theta_bytes_out, bytes);
    port_answer(port, session, params->slice, &header, &payload);
}

void port_malformed(struct port_state *port, const dp_error *err)
{
    uint64_t left_out;
    counter_add(&port->counters->malformed, 1);
    if (log_limit_pass(&port->replies.malformed_limit, mono_ms(), &left_out))
        log_warn("malformed-message shard=%u reason=\"%s\" more=%" PRIu64, port->id, err->text, left_out);
}

void port_reply_refuse(void *arg, const struct refusal *refusal)
{
    struct port_state *port = arg;
    struct port_session *session = &port->sessions[refusal->session];
    Dp__Header about = DP__HEADER__INIT;
    about.session = session->token;
    about.request = refusal->request;
    port_refuse(port, session, &about, refusal);
}

/* ---- rows ---- */

/* Rows in flight. */
struct rows_lease {
    struct port_session *session;
    float *values;
    size_t bytes;
};

/* libzmq is done with a reply. Thread: libzmq's. */
static void rows_return(void *data, void *hint)
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
    if (zmq_msg_init_data(msg, values, bytes, rows_return, lease)) {
        rows_return(values, lease);
        return DP_NOMEM;
    }
    return DP_OK;
}

void port_reply_rows(void *arg, const struct rows_params *rows)
{
    struct port_state *port = arg;
    struct port_session *session = &port->sessions[rows->session];
    Dp__Rows body = DP__ROWS__INIT;
    body.part = rows->part;
    body.step = rows->step;
    body.version = rows->number;
    body.unchanged = rows->unchanged;
    body.last = rows->last;
    body.keys = rows->keys;
    body.count = rows->count;
    Dp__Header header = port_header(port, session->token, rows->request);
    header.body_case = DP__HEADER__BODY_ROWS;
    header.rows = &body;
    session->carrier->lend_rows(port, session, rows, &body);
    if (!rows->values || rows->shared) {
        port_answer(port, session, rows->part, &header, NULL);
        return;
    }
    zmq_msg_t payload;
    if (over_budget(port, session)) {
        free(rows->values);
        return;
    }
    if (values_frame(session, rows->values, rows->bytes, &payload))
        return;
    counter_add(&port->counters->theta_bytes_out, rows->bytes);
    port_answer(port, session, rows->part, &header, &payload);
}

static void free_leases(struct reply_lease *lease)
{
    for (struct reply_lease *next; lease; lease = next) {
        next = lease->next;
        free(lease);
    }
}

void port_replies_fini(struct port_state *port)
{
    free_leases(port->replies.leases);
    free_leases(atomic_load(&port->replies.returned));
}
