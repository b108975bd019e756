/* A model, by pieces; see fetch.h. Thread: main. */
#include "worker/ctl/fetch.h"

#include <xxhash.h>

#include "common/base/entropy.h"

enum {
    PIECE_BYTES = 1 << 20,
    LET_GO_MS = 500, /* longest wait for an answer that changes nothing */
};

struct fetching {
    struct ctl_connection *connection;
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
    const Dp__Header *answer;
    header.body_case = DP__HEADER__BODY_EXPORT;
    header.export = &f->question;
    dp_err e = ctl_ask(f->connection, &header, DP__HEADER__BODY_EXPORTED, payload, &answer, err);
    if (!e)
        *ret_exported = answer->exported;
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
        return dp_fail(err, DP_PROTO, "%s sent a piece of the model that does not fit", f->connection->server);
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
                       f->connection->server);
    return e;
}

/* The server need not wait until nothing more is asked for. It takes this too from whoever may ask alone. */
static void let_go(struct fetching *f)
{
    const uint64_t id = f->question.id, timeout_ms = f->connection->timeout_ms;
    const Dp__Exported *nothing;
    zmq_msg_t payload;
    dp_error err;
    zmq_msg_init(&payload);
    f->question = (Dp__Export)DP__EXPORT__INIT;
    f->question.id = id;
    f->question.done = true;
    f->connection->timeout_ms = LET_GO_MS;
    (void)!ask_piece(f, &payload, &nothing, &err);
    f->connection->timeout_ms = timeout_ms;
    zmq_msg_close(&payload);
}

dp_err ctl_fetch(struct ctl_connection *connection, const char *on_server, ctl_take take, void *arg,
                 struct ctl_exported *ret_exported, dp_error *err)
{
    struct fetching f = {
        .connection = connection, .question = DP__EXPORT__INIT, .digest = XXH3_createState(), .take = take, .arg = arg};
    f.question.id = entropy_u64();
    f.question.bytes = on_server ? 0 : PIECE_BYTES;
    if (on_server)
        f.question.on_server = (char *)on_server;
    dp_err e = f.digest ? ctl_connection_open(connection, err) : dp_fail(err, DP_NOMEM, "out of memory");
    if (!e) {
        (void)XXH3_64bits_reset(f.digest);
        e = fetch_all(&f, err);
        let_go(&f);
    }
    (void)XXH3_freeState(f.digest);
    if (!e)
        *ret_exported = f.facts;
    return e;
}
