/* Questions to the head; see connection.h. A TCP connection of our own goes before the ZeroMQ one, since ZeroMQ tries
 * for ever and never says why a connection fails. Thread: any. */
#include "worker/ctl/connection.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "common/base/deadline.h"
#include "common/base/entropy.h"
#include "common/base/process.h"
#include "common/base/util.h"
#include "common/net/endpoint.h"
#include "common/net/zuv_term.h"
#include "proto/frame.h"
#include "worker/client/contact/proof.h"

enum {
    FILES = 10, /* of ZeroMQ for one connection */
    ANSWER_FRAMES_MAX = 2,
    LOOK_MS = 500, /* between looks whether a silent server is still there */
    QUESTION_BYTES_MAX = FRAME_TEXT_MAX + 512,
};
#define ANSWER_BYTES_MAX ((int64_t)64 << 20)

static int left_ms(const struct ctl_connection *connection)
{
    return (int)MIN(deadline_left_ms(connection->deadline_ms), (uint64_t)INT32_MAX);
}

/* --- connection --- */

/* Finds an address that answers. */
static dp_err find_server(struct ctl_connection *connection, dp_error *err)
{
    struct endpoint endpoint;
    dp_err e = endpoint_parse(connection->server, &endpoint, err);
    if (e)
        return dp_fail_in(err, "option --server");
    e = endpoint_probe(&endpoint, connection->timeout_ms, NULL, &connection->address, err);
    if (e)
        return dp_fail(err, DP_UNREACHABLE, "cannot reach %s: %.300s; is dp-server running there?", connection->server,
                       err->text);
    return DP_OK;
}

static dp_err open_socket(struct ctl_connection *connection, dp_error *err)
{
    char address[ENDPOINT_TEXT_MAX];
    int linger = 0, ipv6 = 1;
    int64_t bytes_max = ANSWER_BYTES_MAX;
    dp_err e = threads_ensure(THREADS_ZMQ, err);
    if (!e)
        e = descriptors_check(FILES, err);
    if (e)
        return e;
    endpoint_text(&connection->address, address);
    connection->context = zmq_ctx_new();
    connection->socket = connection->context ? zmq_socket(connection->context, ZMQ_DEALER) : NULL;
    if (!connection->socket)
        return dp_fail(err, DP_SYSTEM, "cannot make a socket: %s", zmq_strerror(errno));
    if (zmq_setsockopt(connection->socket, ZMQ_LINGER, &linger, sizeof linger) ||
        zmq_setsockopt(connection->socket, ZMQ_IPV6, &ipv6, sizeof ipv6) ||
        zmq_setsockopt(connection->socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) ||
        zmq_connect(connection->socket, address))
        return dp_fail(err, DP_SYSTEM, "cannot connect to %s: %s", address, zmq_strerror(errno));
    return DP_OK;
}

dp_err ctl_connection_open(struct ctl_connection *connection, dp_error *err)
{
    if (connection->socket)
        return DP_OK;
    connection->deadline_ms = mono_ms() + connection->timeout_ms;
    dp_err e = find_server(connection, err);
    if (!e)
        e = open_socket(connection, err);
    if (e)
        ctl_connection_close(connection);
    return e;
}

void ctl_connection_close(struct ctl_connection *connection)
{
    if (connection->socket)
        zmq_close(connection->socket);
    if (connection->context)
        zuv_term(connection->context);
    arena_fini(&connection->arena);
    connection->socket = connection->context = NULL;
}

/* --- question and answer --- */

/* An answer that is waited for. */
struct answer {
    uint32_t want;                     /* a body_case of Header */
    zmq_msg_t *payload;                /* NULL: none is wanted */
    const Dp__Header *header;          /* NULL until it has come */
    struct client_challenge challenge; /* given: it is to be asked again, with a proof */
};

static dp_err fail_no_answer(const struct ctl_connection *connection, dp_error *err)
{
    return dp_fail(
        err, DP_UNREACHABLE,
        "%s takes connections but has not answered within %.3g s; is it a dp-server, and its main port? (one without "
        "descriptors says so in its log)",
        connection->server, (double)connection->timeout_ms / 1000);
}

/* A connection that broke the protocol is one that ZeroMQ gives up, and then nothing takes what is sent. */
static dp_err send_question(struct ctl_connection *connection, Dp__Header *question, dp_error *err)
{
    Dp__Header header = *question;
    header.request = connection->id;
    uint8_t bytes[QUESTION_BYTES_MAX];
    size_t size = frame_size(&header);
    if (size > sizeof bytes)
        return dp_fail(err, DP_USAGE, "the name or the value is too long");
    frame_write(&header, bytes);
    zmq_pollitem_t item = {.socket = connection->socket, .events = ZMQ_POLLOUT};
    if (zmq_poll(&item, 1, left_ms(connection)) == 0)
        return fail_no_answer(connection, err);
    if (zmq_send(connection->socket, bytes, size, ZMQ_DONTWAIT) < 0)
        return dp_fail(err, DP_SYSTEM, "cannot send to %s: %s", connection->server, zmq_strerror(errno));
    return DP_OK;
}

/* Waits until there is a message. ZeroMQ would go on waiting for a server that has ended. */
static dp_err wait_for_message(const struct ctl_connection *connection, dp_error *err)
{
    zmq_pollitem_t item = {.socket = connection->socket, .events = ZMQ_POLLIN};
    struct endpoint same;
    for (;;) {
        int ready = zmq_poll(&item, 1, MIN(left_ms(connection), LOOK_MS)), left = left_ms(connection);
        if (ready < 0)
            return dp_fail(err, DP_SYSTEM, "waiting for %s: %s", connection->server, zmq_strerror(errno));
        if (ready > 0)
            return DP_OK;
        if (left == 0)
            return fail_no_answer(connection, err);
        if (endpoint_probe(&connection->address, (uint64_t)left, NULL, &same, err))
            return dp_fail(err, DP_UNREACHABLE, "%s ended before it answered: %.300s", connection->server, err->text);
    }
}

/* Waits for a message; its first frames go to frames[ANSWER_FRAMES_MAX], *ret_count says how many it has. */
static dp_err receive_frames(struct ctl_connection *connection, zmq_msg_t *frames, size_t *ret_count, dp_error *err)
{
    dp_err e = wait_for_message(connection, err);
    if (e)
        return e;
    zmq_msg_t surplus;
    zmq_msg_init(&surplus);
    size_t count = 0;
    int more = 1;
    for (; more; count++) {
        zmq_msg_t *frame = count < ANSWER_FRAMES_MAX ? &frames[count] : &surplus;
        if (zmq_msg_recv(frame, connection->socket, 0) < 0)
            return dp_fail(err, DP_SYSTEM, "receiving from %s: %s", connection->server, zmq_strerror(errno));
        more = zmq_msg_more(frame);
    }
    zmq_msg_close(&surplus);
    *ret_count = count;
    return DP_OK;
}

/* answer->header stays NULL if the message answers something else. */
static dp_err read_answer(struct ctl_connection *connection, zmq_msg_t *frames, size_t count, struct answer *answer,
                          dp_error *err)
{
    const Dp__Header *header = NULL;
    dp_err e =
        frame_parse(&connection->arena, zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]), count - 1, &header, err);
    if (e)
        return dp_fail(err, DP_PROTO, "%s sent a malformed answer: %.300s", connection->server, err->text);
    if (header->request != connection->id)
        return DP_OK;
    if (header->body_case == DP__HEADER__BODY_ERROR) {
        client_challenge_take(header->error, &answer->challenge);
        return dp_fail(err, dp_err_from_wire(header->error->code), "%s: %.500s", connection->server,
                       header->error->text);
    }
    if ((uint32_t)header->body_case != answer->want)
        return dp_fail(err, DP_PROTO, "%s answered something else than was asked", connection->server);
    answer->header = header;
    if (answer->payload && count > 1 && zmq_msg_move(answer->payload, &frames[1]))
        return dp_fail(err, DP_SYSTEM, "out of memory");
    return DP_OK;
}

static dp_err receive_answer(struct ctl_connection *connection, struct answer *answer, dp_error *err)
{
    dp_err e = DP_OK;
    while (!e && !answer->header) {
        zmq_msg_t frames[ANSWER_FRAMES_MAX];
        size_t count = 0;
        for (size_t i = 0; i < ANSWER_FRAMES_MAX; i++)
            zmq_msg_init(&frames[i]);
        e = receive_frames(connection, frames, &count, err);
        if (!e)
            e = read_answer(connection, frames, count, answer, err);
        for (size_t i = 0; i < ANSWER_FRAMES_MAX; i++)
            zmq_msg_close(&frames[i]);
        if (!e && !answer->header && left_ms(connection) == 0) /* answers to other questions come without an end */
            e = fail_no_answer(connection, err);
    }
    return e;
}

static dp_err ask_once(struct ctl_connection *connection, Dp__Header *question, struct answer *answer, dp_error *err)
{
    answer->header = NULL;
    answer->challenge = (struct client_challenge){0};
    connection->id = entropy_u64();
    dp_err e = send_question(connection, question, err);
    return e ? e : receive_answer(connection, answer, err);
}

/* A server that wants to know whose we are is told, and asked again on the same connection. */
static dp_err ask_proving(struct ctl_connection *connection, Dp__Header *question, struct answer *answer, dp_error *err)
{
    const struct proof_claim claim = {.purpose = (uint32_t)question->body_case};
    struct client_proof proof = {.why.code = DP_OK};
    dp_err e = ask_once(connection, question, answer, err);
    for (int i = 0; e == DP_REFUSED && answer->challenge.given && i < CLIENT_PROOFS_MAX; i++) {
        client_proof_make(NULL, &answer->challenge, &claim, &proof);
        client_proof_put(&proof, question);
        e = ask_once(connection, question, answer, err);
    }
    return e == DP_REFUSED ? client_proof_explain(&proof, err) : e;
}

dp_err ctl_ask(struct ctl_connection *connection, Dp__Header *question, uint32_t want, zmq_msg_t *payload,
               const Dp__Header **ret_answer, dp_error *err)
{
    struct answer answer = {.want = want, .payload = payload};
    if (connection->socket)
        connection->deadline_ms = mono_ms() + connection->timeout_ms;
    dp_err e = ctl_connection_open(connection, err);
    if (!e)
        e = ask_proving(connection, question, &answer, err);
    if (!e)
        *ret_answer = answer.header;
    return e;
}
