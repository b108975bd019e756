/* Messages that reach a shard's port: those about slices, and questions, become calls of the shard's core. Messages
 * about tables are receive_rows.c's. Thread: shard. */
#include "server/net/receive.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "server/net/carrier.h"
#include "server/net/cut.h"
#include "server/net/letters.h"
#include "server/net/push.h"
#include "server/net/receive_rows.h"
#include "server/net/reply.h"
#include "server/net/sessions.h"
#include "server/net/shm.h"
#include "server/shard/ask.h"

/* The session that a message about a piece belongs to, with its way back noted; NULL if there is none (the peer was
 * told). */
static struct port_session *find_session(struct port_state *port, const struct port_message *message, const void *id,
                                         size_t id_bytes)
{
    const Dp__Header *header = message->header;
    struct port_session *session = port_session_find(port, header->session);
    if (!session) {
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
    struct port_way *way = &session->ways[message->piece % FRAME_LANES];
    if (way->id_bytes != id_bytes || memcmp(way->id, id, id_bytes) != 0) {
        way->id_bytes = (uint8_t)id_bytes;
        memcpy(way->id, id, id_bytes);
    }
    return session;
}

static dp_err take_gradient(struct port_state *port, const struct port_session *session,
                            const struct port_message *message, zmq_msg_t *payload, struct blob *ret_gradient,
                            dp_error *err)
{
    const struct range slice = port->shard.slices[message->piece - port->shard.first_slice].range;
    const struct carrier_push push = {message->slab, slice.first, slice.count, payload};
    dp_err e = session->carrier->take(port, session, &push, ret_gradient, err);
    if (e == DP_OK && payload)
        counter_add(&port->counters->gradient_bytes_in, ret_gradient->bytes);
    return e == DP_NOMEM ? err->code = DP_BUSY : e;
}

static void on_slice(struct port_state *port, const struct port_session *session, const struct port_message *message,
                     zmq_msg_t *frames, size_t count)
{
    zmq_msg_t *payload = count > 0 ? frames : NULL;
    struct blob gradient = {0};
    dp_error err;
    dp_err e = frame_check_push_pull(message->header->push_pull, &port->limits.slices,
                                     payload ? zmq_msg_size(payload) : SIZE_MAX, &err);
    if (e == DP_OK && message->push && !port_may_push(port, session, message))
        return;
    if (e == DP_OK)
        e = take_gradient(port, session, message, payload, &gradient, &err);
    if (e) {
        if (e != DP_BUSY)
            port_malformed(port, &err);
        port_refuse(port, session, message->header,
                    &(struct refusal){.code = e, .slice = message->piece, .text = err.text});
        return;
    }
    /* A pull says what the worker has: it reads nothing older. */
    if (message->pull && message->have > 0)
        session->carrier->done(session, message->piece - port->shard.first_slice, message->have - 1);
    struct push_pull msg = port_to_core(&port->shard, message);
    msg.read = message->header->push_pull->read;
    shard_push_pull(&port->shard, &msg, &gradient);
}

/* A worker asks what has come of a step, to send again what has not. */
static void on_ask(struct port_state *port, const struct port_session *session, const struct port_message *message,
                   zmq_msg_t *frames, size_t count)
{
    (void)frames, (void)count;
    const Dp__Header *header = message->header;
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
    Dp__Header answer = port_header(port, session->token, header->request);
    answer.body_case = DP__HEADER__BODY_HELD;
    answer.held = &body;
    port_answer(port, session, ask->piece, &answer, NULL);
}

static void on_rows(struct port_state *port, const struct port_session *session, const struct port_message *message,
                    zmq_msg_t *frames, size_t count)
{
    (void)count;
    port_on_rows(port, session, message, frames);
}

static struct metrics read_metrics(const Dp__Metrics *m)
{
    return m ? (struct metrics){m->count, m->loss, m->correct} : (struct metrics){0};
}

static struct port_message read_ask(const Dp__Header *header)
{
    return (struct port_message){.header = header, .piece = header->ask->piece};
}

static struct port_message read_rows(const Dp__Header *header)
{
    const Dp__RowsPushPull *m = header->rows_push_pull;
    return (struct port_message){header,  m->part,      m->push, m->step, m->level, m->index, read_metrics(m->metrics),
                                 m->pull, m->pull_step, m->have, m->slab};
}

static struct port_message read_slice(const Dp__Header *header)
{
    const Dp__PushPull *m = header->push_pull;
    return (struct port_message){header,  m->slice,     m->push, m->step, m->level, m->index, read_metrics(m->metrics),
                                 m->pull, m->pull_step, m->have, m->slab};
}

/* Messages about pieces: the part that all have alike, and the rest. `frames` are those behind the header. */
static const struct about_piece {
    Dp__Header__BodyCase body;
    struct port_message (*read)(const Dp__Header *header);
    void (*take)(struct port_state *port, const struct port_session *session, const struct port_message *message,
                 zmq_msg_t *frames, size_t count);
} ABOUT_PIECES[] = {
    {DP__HEADER__BODY_PUSH_PULL, read_slice, on_slice},
    {DP__HEADER__BODY_ROWS_PUSH_PULL, read_rows, on_rows},
    {DP__HEADER__BODY_ASK, read_ask, on_ask},
};

/* NULL: it is about none. */
static const struct about_piece *about_piece(const Dp__Header *header)
{
    for (size_t i = 0; i < ARRAY_LEN(ABOUT_PIECES); i++)
        if (ABOUT_PIECES[i].body == header->body_case)
            return &ABOUT_PIECES[i];
    return NULL;
}

static void on_piece(struct port_state *port, const struct about_piece *about, const Dp__Header *header,
                     zmq_msg_t *frames, size_t count)
{
    const struct port_message message = about->read(header);
    const struct port_session *session =
        find_session(port, &message, zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]));
    if (!session)
        return;
    port_shm_hear(port, session);
    about->take(port, session, &message, frames + 2, count - 2);
    port_cut_feed(port);
}

void port_on_message(void *arg, zmq_msg_t *frames, size_t count)
{
    struct port_state *port = arg;
    dp_error err = {.text = "a message needs a header frame, and has no more than a few frames"};
    const Dp__Header *header;
    size_t id_bytes = count > 0 ? zmq_msg_size(&frames[0]) : 0;
    if (count < 2 || id_bytes > ROUTING_ID_MAX ||
        frame_parse(&port->arena, zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), count - 2, &header, &err)) {
        port_malformed(port, &err);
        return;
    }
    const struct about_piece *about = about_piece(header);
    if (!about && port->post) {
        port_pass_on(port, header, frames, count);
        return;
    }
    counter_add(&port->counters->header_bytes_in, zmq_msg_size(&frames[1]));
    if (about)
        on_piece(port, about, header, frames, count);
    else
        port_send_error(
            port, zmq_msg_data(&frames[0]), id_bytes, header,
            &(struct refusal){.code = DP_PROTO, .text = "this is the port of a shard: use that of dp-server --listen"});
}
