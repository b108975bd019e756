/* What comes to a shard's port: payloads, and messages about slices, as calls of the shard's core.
 *
 * Invariant: a session opened by the head before it answers a worker is known here before that worker's first message
 * is looked at: unknown tokens make the thread drain its commands and look again. Thread: shard. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "proto/frame_limits.h"
#include "server/net/rows.h"
#include "server/net/thread.h"
#include "server/shard/ask.h"

/* A received payload that is kept where it is. */
struct kept_frame {
    struct kept_frame *next;
    struct port *port;
    zmq_msg_t msg;
};

static void frame_give_back(void *owner)
{
    struct kept_frame *frame = owner;
    zmq_msg_close(&frame->msg);
    frame->next = frame->port->frames;
    frame->port->frames = frame;
}

static struct kept_frame *frame_take(struct port *port)
{
    struct kept_frame *frame = port->frames;
    if (frame)
        port->frames = frame->next;
    else
        frame = mem_array(1, sizeof *frame);
    if (frame) {
        frame->port = port;
        zmq_msg_init(&frame->msg);
    }
    return frame;
}

/* Takes the payload of a message. libzmq leaves small frames wherever they were in its buffer: those are copied to an
 * aligned place; large ones stay. */
dp_err port_payload_take(struct port *port, zmq_msg_t *msg, struct blob *ret_blob)
{
    struct kept_frame *frame = frame_take(port);
    if (!frame)
        return DP_NOMEM;
    size_t bytes = zmq_msg_size(msg);
    if ((uintptr_t)zmq_msg_data(msg) % sizeof(float) == 0) {
        zmq_msg_move(&frame->msg, msg);
    } else {
        if (zmq_msg_init_size(&frame->msg, bytes)) {
            zmq_msg_init(&frame->msg);
            frame_give_back(frame);
            return DP_NOMEM;
        }
        memcpy(zmq_msg_data(&frame->msg), zmq_msg_data(msg), bytes);
        counter_add(&port->counters.copies, 1);
        counter_add(&port->counters.copied_bytes, bytes);
    }
    *ret_blob = (struct blob){zmq_msg_data(&frame->msg), bytes, frame, frame_give_back};
    return DP_OK;
}

void port_payloads_fini(struct port *port)
{
    for (struct kept_frame *f = port->frames, *next; f; f = next) {
        next = f->next;
        free(f);
    }
}

/* ---- messages ---- */

/* The session that a message about a piece belongs to, with its way back noted; NULL if there is none (the peer was
 * told). */
static struct port_session *find_session(struct port *port, const Dp__Header *header, uint32_t piece, const void *id,
                                         size_t id_bytes)
{
    struct port_session *session = &port->sessions[session_number(header->session)];
    if (session->token != header->session || header->session == 0)
        port_obey(port);
    if (session->token != header->session || header->session == 0) {
        port_send_error(
            port, id, id_bytes, header,
            &(struct refusal){.code = DP_HELLO_REQUIRED, .text = "unknown session, say hello to the head again"});
        return NULL;
    }
    if (header->incarnation != port->incarnation) {
        port_send_error(port, id, id_bytes, header,
                        &(struct refusal){.code = DP_INCARNATION, .text = "message of another incarnation of the job"});
        return NULL;
    }
    struct port_way *way = &session->ways[piece % FRAME_LANES];
    if (way->id_bytes != id_bytes || memcmp(way->id, id, id_bytes) != 0) {
        way->id_bytes = (uint8_t)id_bytes;
        memcpy(way->id, id, id_bytes);
    }
    return session;
}

struct metrics port_metrics(const Dp__Metrics *m)
{
    return m ? (struct metrics){m->count, m->loss, m->correct} : (struct metrics){0};
}

static struct push_pull to_core(const struct port *port, const Dp__Header *header)
{
    const Dp__PushPull *m = header->push_pull;
    const struct shard *shard = &port->shard;
    struct push_pull msg = {PORT_EXCHANGE(header, m), .piece = m->slice - shard->first_slice, .read = m->read};
    if (m->push)
        msg.node = steps_node(&shard->slices[msg.piece].window, m->level, m->index);
    return msg;
}

void port_malformed(struct port *port, const dp_error *err)
{
    uint64_t left_out;
    counter_add(&port->counters.malformed, 1);
    if (log_limit_pass(&port->malformed_limit, mono_ms(), &left_out))
        log_warn("malformed-message shard=%u reason=\"%s\" more=%" PRIu64, port->id, err->text, left_out);
}

/* A pull says what the worker has: it reads nothing older. */
static void take_back(const struct port *port, const Dp__Header *header)
{
    const Dp__PushPull *m = header->push_pull;
    struct shm_session *shm = port->sessions[session_number(header->session)].shm;
    if (shm && m->pull && m->have > 0)
        shm_session_returned(shm, m->slice - port->shard.first_slice, m->have - 1);
}

/* The gradient of a push: in a slab, in the message, or none. */
static dp_err take_gradient(struct port *port, const struct port_session *session, const Dp__PushPull *m,
                            zmq_msg_t *payload, struct blob *ret_gradient, dp_error *err)
{
    const struct range slice = port->shard.slices[m->slice - port->shard.first_slice].range;
    if (m->slab)
        return port_shm_payload(session, m->slab, slice.first, slice.count, ret_gradient, err);
    if (payload && port_payload_take(port, payload, ret_gradient))
        return dp_fail(err, DP_BUSY, "out of memory for the push");
    return DP_OK;
}

/* A message about a slice; `payload` is NULL where none came. */
static void on_slice(struct port *port, const struct port_session *session, const Dp__Header *header,
                     zmq_msg_t *payload)
{
    const Dp__PushPull *m = header->push_pull;
    struct blob gradient = {0};
    dp_error err;
    dp_err e = frame_check_push_pull(m, &port->limits, payload ? zmq_msg_size(payload) : SIZE_MAX, &err);
    if (e == DP_OK && m->push) {
        const struct steps *window = &port->shard.slices[m->slice - port->shard.first_slice].window;
        if (!port_may_push(port, session, header,
                           &(struct port_push){m->step, m->level, m->index, m->metrics, m->slice, window}))
            return;
    }
    if (e == DP_OK)
        e = take_gradient(port, session, m, payload, &gradient, &err);
    if (e) {
        if (e != DP_BUSY)
            port_malformed(port, &err);
        port_refuse(port, session, header, &(struct refusal){.code = e, .slice = m->slice, .text = err.text});
        return;
    }
    counter_add(shm_is_slab(&gradient) ? &port->counters.shm_bytes_in : &port->counters.gradient_bytes_in,
                gradient.bytes);
    take_back(port, header);
    struct push_pull msg = to_core(port, header);
    shard_push_pull(&port->shard, &msg, &gradient);
}

/* A worker asks what has come of a step, to send again what has not. */
static void on_ask(struct port *port, const struct port_session *session, const Dp__Header *header)
{
    const Dp__Ask *ask = header->ask;
    const struct shard_question question = {session_number(session->token), ask->piece, ask->step, ask->pull_step};
    struct shard_held held;
    if (!shard_ask(&port->shard, &question, &held)) {
        port_refuse(port, session, header,
                    &(struct refusal){.code = DP_RANGE, .slice = ask->piece, .text = "question about another shard"});
        return;
    }
    Dp__Held body = DP__HELD__INIT;
    body.piece = ask->piece;
    body.step = ask->step;
    body.pull_step = ask->pull_step;
    body.waits = held.waits;
    body.accepted = (ProtobufCBinaryData){held.accepted_bytes, (uint8_t *)held.accepted};
    Dp__Header answer = DP__HEADER__INIT;
    answer.session = session->token;
    answer.incarnation = port->incarnation;
    answer.request = header->request;
    answer.body_case = DP__HEADER__BODY_HELD;
    answer.held = &body;
    port_answer(port, session, ask->piece, &answer, NULL);
}

static bool is_ours(const Dp__Header *header)
{
    return header->body_case == DP__HEADER__BODY_PUSH_PULL || header->body_case == DP__HEADER__BODY_ROWS_PUSH_PULL ||
           header->body_case == DP__HEADER__BODY_ASK;
}

/* The slice or part that a message of ours is about. */
static uint32_t piece_of(const Dp__Header *header)
{
    if (header->body_case == DP__HEADER__BODY_ASK)
        return header->ask->piece;
    return header->body_case == DP__HEADER__BODY_ROWS_PUSH_PULL ? header->rows_push_pull->part
                                                                : header->push_pull->slice;
}

void port_on_message(void *arg, zmq_msg_t *frames, size_t count)
{
    struct port *port = arg;
    dp_error err = {.text = "a message needs a header frame, and has no more than a few frames"};
    const Dp__Header *header;
    const void *id = count > 0 ? zmq_msg_data(&frames[0]) : NULL;
    size_t id_bytes = count > 0 ? zmq_msg_size(&frames[0]) : 0;
    if (count < 2 || id_bytes > ROUTING_ID_MAX ||
        frame_parse(&port->arena, zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), count - 2, &header, &err)) {
        port_malformed(port, &err);
        return;
    }
    bool ours = is_ours(header);
    if (!ours && port->post) {
        port_pass_on(port, header, frames, count);
        return;
    }
    counter_add(&port->counters.header_bytes_in, zmq_msg_size(&frames[1]));
    if (!ours) {
        port_send_error(
            port, id, id_bytes, header,
            &(struct refusal){.code = DP_PROTO, .text = "this is the port of a shard: use that of dp-server --listen"});
        return;
    }
    struct port_session *session = find_session(port, header, piece_of(header), id, id_bytes);
    if (!session)
        return;
    port_shm_hear(port, session);
    if (header->body_case == DP__HEADER__BODY_ASK)
        on_ask(port, session, header);
    else if (header->body_case == DP__HEADER__BODY_ROWS_PUSH_PULL)
        port_on_rows(port, session, header, frames + 2);
    else
        on_slice(port, session, header, count > 2 ? &frames[2] : NULL);
}
