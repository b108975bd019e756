/* One question to the head. A TCP connection of our own goes before the ZeroMQ one, since ZeroMQ tries for ever and
 * never says why a connection fails. The deadline is one for all of it. Thread: any. */
#include "worker/ctl/request.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>
#include <zmq.h>

#include "common/base/deadline.h"
#include "common/base/text.h"
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
    PIECE_BYTES = 1 << 20,
};
#define ANSWER_BYTES_MAX ((int64_t)64 << 20)

struct request {
    const char *server;
    struct endpoint address; /* of it, numeric */
    uint64_t deadline_ms;
    uint64_t timeout_ms; /* for messages */
    uint64_t id;
    void *context, *socket;
    struct arena arena;
};

static int left_ms(const struct request *request)
{
    return (int)MIN(deadline_left_ms(request->deadline_ms), (uint64_t)INT32_MAX);
}

/* --- connection --- */

/* Finds an address that answers. */
static dp_err find_server(struct request *request, dp_error *err)
{
    struct endpoint endpoint;
    dp_err e = endpoint_parse(request->server, &endpoint, err);
    if (e)
        return dp_fail_in(err, "option --server");
    e = endpoint_probe(&endpoint, request->timeout_ms, NULL, &request->address, err);
    if (e)
        return dp_fail(err, DP_UNREACHABLE, "cannot reach %s: %.300s; is dp-server running there?", request->server,
                       err->text);
    return DP_OK;
}

static dp_err open_socket(struct request *request, dp_error *err)
{
    char address[ENDPOINT_TEXT_MAX];
    int linger = 0, ipv6 = 1;
    int64_t bytes_max = ANSWER_BYTES_MAX;
    dp_err e = threads_ensure(THREADS_ZMQ, err);
    if (!e)
        e = descriptors_check(FILES, err);
    if (e)
        return e;
    endpoint_text(&request->address, address);
    request->context = zmq_ctx_new();
    request->socket = request->context ? zmq_socket(request->context, ZMQ_DEALER) : NULL;
    if (!request->socket)
        return dp_fail(err, DP_SYSTEM, "cannot make a socket: %s", zmq_strerror(errno));
    if (zmq_setsockopt(request->socket, ZMQ_LINGER, &linger, sizeof linger) ||
        zmq_setsockopt(request->socket, ZMQ_IPV6, &ipv6, sizeof ipv6) ||
        zmq_setsockopt(request->socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max) ||
        zmq_connect(request->socket, address))
        return dp_fail(err, DP_SYSTEM, "cannot connect to %s: %s", address, zmq_strerror(errno));
    return DP_OK;
}

static void close_socket(struct request *request)
{
    if (request->socket)
        zmq_close(request->socket);
    if (request->context)
        zuv_term(request->context);
    arena_fini(&request->arena);
}

/* --- question and answer --- */

/* The answer to a question. */
struct answer {
    bool there;
    struct client_challenge challenge; /* given: it is to be asked again, with a proof */
    json_t *status;
    uint64_t step, train_step;
    const Dp__Exported *exported; /* valid until the next answer */
    zmq_msg_t *payload;           /* of a question that keeps it, else NULL */
};

static dp_err fail_no_answer(const struct request *request, dp_error *err)
{
    return dp_fail(
        err, DP_UNREACHABLE,
        "%s takes connections but has not answered within %.3g s; is it a dp-server, and its main port? (one without "
        "descriptors says so in its log)",
        request->server, (double)request->timeout_ms / 1000);
}

/* A connection that broke the protocol is one that ZeroMQ gives up, and then nothing takes what is sent. */
static dp_err send_question(struct request *request, Dp__Header *question, dp_error *err)
{
    Dp__Header header = *question;
    header.request = request->id;
    uint8_t bytes[QUESTION_BYTES_MAX];
    size_t size = frame_size(&header);
    if (size > sizeof bytes)
        return dp_fail(err, DP_USAGE, "the name or the value is too long");
    frame_write(&header, bytes);
    zmq_pollitem_t item = {.socket = request->socket, .events = ZMQ_POLLOUT};
    if (zmq_poll(&item, 1, left_ms(request)) == 0)
        return fail_no_answer(request, err);
    if (zmq_send(request->socket, bytes, size, ZMQ_DONTWAIT) < 0)
        return dp_fail(err, DP_SYSTEM, "cannot send to %s: %s", request->server, zmq_strerror(errno));
    return DP_OK;
}

/* Waits until there is a message. ZeroMQ would go on waiting for a server that has ended. */
static dp_err wait_for_message(const struct request *request, dp_error *err)
{
    zmq_pollitem_t item = {.socket = request->socket, .events = ZMQ_POLLIN};
    struct endpoint same;
    for (;;) {
        int ready = zmq_poll(&item, 1, MIN(left_ms(request), LOOK_MS)), left = left_ms(request);
        if (ready < 0)
            return dp_fail(err, DP_SYSTEM, "waiting for %s: %s", request->server, zmq_strerror(errno));
        if (ready > 0)
            return DP_OK;
        if (left == 0)
            return fail_no_answer(request, err);
        if (endpoint_probe(&request->address, (uint64_t)left, NULL, &same, err))
            return dp_fail(err, DP_UNREACHABLE, "%s ended before it answered: %.300s", request->server, err->text);
    }
}

/* Waits for a message; its first frames go to frames[ANSWER_FRAMES_MAX], *ret_count says how many it has. */
static dp_err receive_frames(struct request *request, zmq_msg_t *frames, size_t *ret_count, dp_error *err)
{
    dp_err e = wait_for_message(request, err);
    if (e)
        return e;
    zmq_msg_t surplus;
    zmq_msg_init(&surplus);
    size_t count = 0;
    int more = 1;
    for (; more; count++) {
        zmq_msg_t *frame = count < ANSWER_FRAMES_MAX ? &frames[count] : &surplus;
        if (zmq_msg_recv(frame, request->socket, 0) < 0)
            return dp_fail(err, DP_SYSTEM, "receiving from %s: %s", request->server, zmq_strerror(errno));
        more = zmq_msg_more(frame);
    }
    zmq_msg_close(&surplus);
    *ret_count = count;
    return DP_OK;
}

static dp_err parse_status(const struct request *request, zmq_msg_t *payload, json_t **ret_status, dp_error *err)
{
    json_error_t why;
    json_t *status = json_loadb(zmq_msg_data(payload), zmq_msg_size(payload), JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(status)) {
        json_decref(status);
        return dp_fail(err, DP_PROTO, "%s sent a status that is no JSON object", request->server);
    }
    *ret_status = status;
    return DP_OK;
}

/* answer->there stays false if the message answers something else. */
static dp_err read_answer(struct request *request, uint32_t want, zmq_msg_t *frames, size_t count,
                          struct answer *answer, dp_error *err)
{
    const Dp__Header *header = NULL;
    dp_err e =
        frame_parse(&request->arena, zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]), count - 1, &header, err);
    if (e)
        return dp_fail(err, DP_PROTO, "%s sent a malformed answer: %.300s", request->server, err->text);
    if (header->request != request->id)
        return DP_OK;
    if (header->body_case == DP__HEADER__BODY_ERROR) {
        client_challenge_take(header->error, &answer->challenge);
        return dp_fail(err, dp_err_from_wire(header->error->code), "%s: %.500s", request->server, header->error->text);
    }
    if ((uint32_t)header->body_case != want)
        return dp_fail(err, DP_PROTO, "%s answered something else than was asked", request->server);
    answer->there = true;
    if (want == DP__HEADER__BODY_STATUS)
        return parse_status(request, &frames[1], &answer->status, err);
    if (want == DP__HEADER__BODY_EXPORTED) {
        answer->exported = header->exported;
        return count > 1 && zmq_msg_move(answer->payload, &frames[1]) ? dp_fail(err, DP_SYSTEM, "out of memory")
                                                                      : DP_OK;
    }
    answer->step = header->applied->step;
    answer->train_step = header->applied->train_step;
    return DP_OK;
}

static dp_err receive_answer(struct request *request, uint32_t want, struct answer *answer, dp_error *err)
{
    dp_err e = DP_OK;
    while (!e && !answer->there) {
        zmq_msg_t frames[ANSWER_FRAMES_MAX];
        size_t count = 0;
        for (size_t i = 0; i < ANSWER_FRAMES_MAX; i++)
            zmq_msg_init(&frames[i]);
        e = receive_frames(request, frames, &count, err);
        if (!e)
            e = read_answer(request, want, frames, count, answer, err);
        for (size_t i = 0; i < ANSWER_FRAMES_MAX; i++)
            zmq_msg_close(&frames[i]);
        if (!e && !answer->there && left_ms(request) == 0) /* answers to other questions come without an end */
            e = fail_no_answer(request, err);
    }
    return e;
}

static dp_err ask_once(struct request *request, Dp__Header *question, uint32_t want, struct answer *answer,
                       dp_error *err)
{
    *answer = (struct answer){.payload = answer->payload};
    request->id = entropy_u64();
    dp_err e = send_question(request, question, err);
    return e ? e : receive_answer(request, want, answer, err);
}

/* A server that wants to know whose we are is told, and asked again on the same connection. */
static dp_err ask_proving(struct request *request, Dp__Header *question, uint32_t want, struct answer *answer,
                          dp_error *err)
{
    const struct proof_claim claim = {.purpose = (uint32_t)question->body_case};
    struct client_proof proof = {.why.code = DP_OK};
    dp_err e = ask_once(request, question, want, answer, err);
    for (int i = 0; e == DP_REFUSED && answer->challenge.given && i < CLIENT_PROOFS_MAX; i++) {
        client_proof_make(NULL, &answer->challenge, &claim, &proof);
        client_proof_put(&proof, question);
        e = ask_once(request, question, want, answer, err);
    }
    return e == DP_REFUSED ? client_proof_explain(&proof, err) : e;
}

/* Asks and waits for an answer of kind `want`. */
static dp_err ask(const char *server, uint64_t timeout_ms, Dp__Header *question, uint32_t want, struct answer *answer,
                  dp_error *err)
{
    struct request request = {
        .server = server,
        .timeout_ms = timeout_ms,
        .deadline_ms = mono_ms() + timeout_ms,
    };
    dp_err e = find_server(&request, err);
    if (!e)
        e = open_socket(&request, err);
    if (!e)
        e = ask_proving(&request, question, want, answer, err);
    close_socket(&request);
    return e;
}

dp_err ctl_request_status(const char *server, uint64_t timeout_ms, json_t **ret_status, dp_error *err)
{
    Dp__StatusRequest body = DP__STATUS_REQUEST__INIT;
    Dp__Header question = DP__HEADER__INIT;
    struct answer answer = {0};
    question.body_case = DP__HEADER__BODY_STATUS_REQUEST;
    question.status_request = &body;
    dp_err e = ask(server, timeout_ms, &question, DP__HEADER__BODY_STATUS, &answer, err);
    if (!e)
        *ret_status = answer.status;
    return e;
}

dp_err ctl_request_set(const char *server, uint64_t timeout_ms, const struct ctl_setting *setting, uint64_t *ret_step,
                       uint64_t *ret_train_step, dp_error *err)
{
    Dp__Set body = DP__SET__INIT;
    Dp__Header question = DP__HEADER__INIT;
    struct answer answer = {0};
    body.name = (char *)setting->name;
    body.value = setting->value;
    if (setting->text)
        body.text = (char *)setting->text;
    question.body_case = DP__HEADER__BODY_SET;
    question.set = &body;
    dp_err e = ask(server, timeout_ms, &question, DP__HEADER__BODY_APPLIED, &answer, err);
    if (!e) {
        *ret_step = answer.step;
        *ret_train_step = answer.train_step;
    }
    return e;
}

/* ---- a model, by pieces ---- */

struct fetching {
    struct request request;
    Dp__Export question;
    struct ctl_exported facts;
    XXH3_state_t *digest;
    ctl_take take;
    void *arg;
};

/* One question and its answer, whose payload goes to `payload`. */
static dp_err ask_piece(struct fetching *f, zmq_msg_t *payload, const Dp__Exported **ret_exported, dp_error *err)
{
    Dp__Header header = DP__HEADER__INIT;
    struct answer answer = {.payload = payload};
    header.body_case = DP__HEADER__BODY_EXPORT;
    header.export = &f->question;
    f->request.deadline_ms = mono_ms() + f->request.timeout_ms;
    dp_err e = ask_proving(&f->request, &header, DP__HEADER__BODY_EXPORTED, &answer, err);
    if (!e)
        *ret_exported = answer.exported;
    return e;
}

/* The first piece says what the file is; the others must say the same. */
static dp_err check_piece(struct fetching *f, const Dp__Exported *piece, size_t bytes, dp_error *err)
{
    const struct ctl_exported facts = {piece->total, piece->digest, piece->train_step, piece->complete,
                                       piece->diverged};
    if (f->question.offset == 0)
        f->facts = facts;
    if (piece->id != f->question.id || piece->offset != f->question.offset || facts.bytes != f->facts.bytes ||
        facts.digest != f->facts.digest || bytes == 0 || bytes > PIECE_BYTES || bytes > facts.bytes - piece->offset)
        return dp_fail(err, DP_PROTO, "%s sent a piece of the model that does not fit", f->request.server);
    return DP_OK;
}

static dp_err take_piece(struct fetching *f, zmq_msg_t *payload, dp_error *err)
{
    (void)XXH3_64bits_update(f->digest, zmq_msg_data(payload), zmq_msg_size(payload));
    f->question.offset += zmq_msg_size(payload);
    return f->take(f->arg, &f->facts, zmq_msg_data(payload), zmq_msg_size(payload), err);
}

/* The next piece, or nothing yet. */
static dp_err fetch_piece(struct fetching *f, bool *ret_over, dp_error *err)
{
    const Dp__Exported *piece = NULL;
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    dp_err e = ask_piece(f, &payload, &piece, err);
    bool there = !e && piece->total > 0;
    size_t bytes = zmq_msg_size(&payload);
    if (there && f->question.on_server[0]) {
        f->facts =
            (struct ctl_exported){piece->total, piece->digest, piece->train_step, piece->complete, piece->diverged};
        *ret_over = true;
    } else if (there && (bytes > 0 || f->question.offset > 0)) {
        e = check_piece(f, piece, bytes, err);
        if (!e)
            e = take_piece(f, &payload, err);
        *ret_over = !e && f->question.offset == f->facts.bytes;
    }
    zmq_msg_close(&payload);
    return e;
}

static dp_err fetch_all(struct fetching *f, dp_error *err)
{
    bool over = false;
    dp_err e = DP_OK;
    while (!e && !over)
        e = fetch_piece(f, &over, err);
    if (!e && !f->question.on_server[0] && XXH3_64bits_digest(f->digest) != f->facts.digest)
        return dp_fail(err, DP_DATA, "%s: the model that has come is not the one that was sent: try again",
                       f->request.server);
    return e;
}

/* The server need not wait until nothing more is asked for. It takes this too from whoever may ask alone. */
static void let_go(struct fetching *f)
{
    const uint64_t id = f->question.id;
    const Dp__Exported *nothing;
    zmq_msg_t payload;
    dp_error err;
    zmq_msg_init(&payload);
    f->question = (Dp__Export)DP__EXPORT__INIT;
    f->question.id = id;
    f->question.done = true;
    f->request.timeout_ms = LOOK_MS;
    (void)!ask_piece(f, &payload, &nothing, &err);
    zmq_msg_close(&payload);
}

dp_err ctl_request_export(const char *server, uint64_t timeout_ms, const char *on_server, ctl_take take, void *arg,
                          struct ctl_exported *ret_exported, dp_error *err)
{
    struct fetching f = {.request = {.server = server,
                                     .timeout_ms = timeout_ms,
                                     .deadline_ms = mono_ms() + timeout_ms,
                                     .id = entropy_u64()},
                         .question = DP__EXPORT__INIT,
                         .digest = XXH3_createState(),
                         .take = take,
                         .arg = arg};
    f.question.id = entropy_u64();
    f.question.bytes = on_server ? 0 : PIECE_BYTES;
    if (on_server)
        f.question.on_server = (char *)on_server;
    dp_err e = f.digest ? find_server(&f.request, err) : dp_fail(err, DP_NOMEM, "out of memory");
    if (!e)
        e = open_socket(&f.request, err);
    if (!e) {
        (void)XXH3_64bits_reset(f.digest);
        e = fetch_all(&f, err);
        let_go(&f);
    }
    close_socket(&f.request);
    (void)XXH3_freeState(f.digest);
    if (!e)
        *ret_exported = f.facts;
    return e;
}
