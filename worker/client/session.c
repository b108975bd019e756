/* The session with the head: finding it, hello, join, all of it again after a loss.
 *
 * A session that was lost is taken up on new sockets, so that nothing of the old one is under way any more.
 * Thread: the one that uses the client. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/kernels/numerics.h"
#include "worker/client/client.h"

/* The last try has a little time as well, else its failure would say nothing but that. */
enum { HEAD_QUEUE = 1000, PROBE_MS = 5000, PROBE_LEAST_MS = 1000, REACH_WAIT_MS = 1000, QUESTION_STUCK_MS = 4000 };

Dp__Header session_header(struct dp_client *client)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = client->session;
    header.incarnation = client->incarnation;
    header.request = ++client->request;
    return header;
}

bool session_owns(const struct dp_client *client, const Dp__Header *header)
{
    return header->incarnation == client->incarnation;
}

static uint64_t left_ms(uint64_t deadline_ms)
{
    uint64_t now = mono_ms();
    return now < deadline_ms ? deadline_ms - now : 0;
}

/* To the nearest second: what is said is then what was configured. */
static uint64_t seconds(uint64_t ms)
{
    return (ms + 500) / 1000;
}

/* Waits up to `ms`; ends early by a signal. */
static void session_pause(uint64_t ms)
{
    (void)poll(NULL, 0, (int)MIN(ms, 60000));
}

static bool session_lost(dp_err code)
{
    return code == DP_HELLO_REQUIRED || code == DP_INCARNATION;
}

static dp_err stopped(dp_error *err)
{
    return dp_fail(err, DP_STOPPED, "stopped by a signal");
}

dp_err session_back_off(const struct dp_client *client, uint64_t ms, dp_error *err)
{
    for (uint64_t end = mono_ms() + ms; left_ms(end) > 0;) {
        if (client_stopped(client))
            return stopped(err);
        session_pause(MIN(left_ms(end), client->timing.poll));
    }
    return client_stopped(client) ? stopped(err) : DP_OK;
}

/* Different workers try at different times. */
static uint64_t retry_jitter(const struct dp_client *client, uint64_t wait_ms)
{
    return wait_ms - client->worker_id % (wait_ms / 4 + 1);
}

dp_err session_reach(struct dp_client *client, const struct endpoint *endpoint, const char *hint, uint64_t deadline_ms,
                     struct endpoint *ret_address, dp_error *err)
{
    char name[ENDPOINT_TEXT_MAX];
    uint64_t begin_ms = mono_ms(), notice_ms = begin_ms, wait_ms = client->timing.retry;
    bool told = false;
    endpoint_text(endpoint, name);
    for (;;) {
        uint64_t most_ms = MIN(MAX(left_ms(deadline_ms), (uint64_t)PROBE_LEAST_MS), (uint64_t)PROBE_MS);
        dp_err e = endpoint_probe(endpoint, most_ms, client->stop, ret_address, err);
        if (e == DP_OK && told)
            client_notice(client, "reached %s", name);
        if (e == DP_OK)
            return DP_OK;
        if (left_ms(deadline_ms) == 0)
            return dp_fail(err, DP_UNREACHABLE, "cannot reach %s: %.200s (tried for %llu s); %s", name, err->text,
                           (unsigned long long)seconds(mono_ms() - begin_ms), hint);
        if (mono_ms() >= notice_ms) {
            client_notice(client, "cannot reach %s (%.200s), trying for another %llu s", name, err->text,
                          (unsigned long long)seconds(left_ms(deadline_ms)));
            notice_ms = mono_ms() + client->timing.notice;
            told = true;
        }
        e = session_back_off(client, MIN(retry_jitter(client, wait_ms), left_ms(deadline_ms)), err);
        if (e)
            return e;
        wait_ms = MIN(2 * wait_ms, MIN(client->timing.retry_max, (uint64_t)REACH_WAIT_MS));
    }
}

/* Waits for something from the head, at most `ms`. */
static dp_err head_wait(struct dp_client *client, uint64_t ms, dp_error *err)
{
    struct link *head = &client->head_link;
    struct pollfd items[2];
    return links_wait(&head, 1, items, MIN(ms, client->timing.poll), err);
}

/* The time is up: nobody has answered, or only that we should come again later. */
static dp_err no_answer(const struct dp_client *client, uint64_t begin_ms, dp_error *err)
{
    if (client->busy.code)
        return dp_fail(err, client->busy.code, "%s: %.400s (waited %llu s)", client->server, client->busy.text,
                       (unsigned long long)seconds(mono_ms() - client->busy_begin_ms));
    return dp_fail(err, DP_UNREACHABLE,
                   "%s accepts connections but nothing there answers as dp-server (waited %llu s); is it the port that "
                   "dp-server printed?",
                   client->server, (unsigned long long)seconds(mono_ms() - begin_ms));
}

/* The server has no room for us now. False once the time is up, else it is to be asked again. */
static bool wait_busy(struct dp_client *client, Dp__Header *header, uint64_t deadline_ms)
{
    struct session_question *question = &client->question;
    bool told = client->busy.code && strcmp(client->busy.text, question->refusal.text) == 0;
    client->busy = question->refusal;
    if (left_ms(deadline_ms) == 0)
        return false;
    if (!told)
        client_notice(client, "%s: %.300s; trying again", client->server, client->busy.text);
    question->answered = false;
    question->waited = true;
    question->refusal.code = DP_OK;
    header->proof.len = 0; /* it was taken: there will be another challenge */
    /* Before it has joined a worker's number means nothing yet, and another connection may hold it. */
    if (header->body_case == DP__HEADER__BODY_HELLO && !client->joined)
        header->hello->worker = client->worker_id = entropy_u64();
    return true;
}

/* Whether nothing that was sent arrives: the connection was lost with an outage, which TCP may not find out for long.
 */
static bool question_stuck(struct dp_client *client, uint64_t now_ms)
{
    struct path_state state;
    struct link *head = &client->head_link;
    return path_look(head->tcp, &state) && path_stuck_ms(&head->watch, &state, now_ms) >= QUESTION_STUCK_MS;
}

/* Sends a question, again after a while, until it is answered; the answer has been taken then. */
static dp_err session_ask(struct dp_client *client, Dp__Header *header, Dp__Header__BodyCase awaited,
                          uint64_t deadline_ms, dp_error *err)
{
    uint64_t begin_ms = mono_ms(), send_ms = begin_ms;
    client->question = (struct session_question){.request = header->request, .awaited = awaited};
    client->rejoin = false;
    dp_err e = DP_OK;
    while (e == DP_OK && !client->question.answered) {
        uint64_t now = mono_ms();
        if (question_stuck(client, now)) {
            e = link_reopen(&client->head_link, err);
            send_ms = now;
            if (e)
                break;
        }
        if (now >= send_ms && link_send(&client->head_link, header, NULL, 0) != DP_NOMEM)
            send_ms = now + client->timing.ask_again;
        e = head_wait(client, MIN(left_ms(deadline_ms), left_ms(send_ms)), err);
        if (e == DP_OK)
            e = session_drain(client, err);
        if (e == DP_OK && client->question.refusal.code == DP_BUSY && !client->question.hang_up &&
            wait_busy(client, header, deadline_ms))
            send_ms = mono_ms() + client->timing.retry_max;
        if (e == DP_OK && client_stopped(client))
            e = stopped(err);
        else if (e == DP_OK && client->end.code)
            e = dp_fail(err, client->end.code, "%s", client->end.text);
        else if (e == DP_OK && !client->question.answered && client->rejoin)
            e = dp_fail(err, DP_HELLO_REQUIRED, "lost the session with %s", client->server);
        else if (e == DP_OK && !client->question.answered && left_ms(deadline_ms) == 0)
            e = no_answer(client, begin_ms, err);
    }
    if (e == DP_OK && client->question.refusal.code == DP_BUSY && !client->question.hang_up)
        e = no_answer(client, begin_ms, err);
    else if (e == DP_OK && client->question.refusal.code)
        e = dp_fail(err, client->question.refusal.code, "%s", client->question.refusal.text);
    client->question.request = 0;
    return e;
}

/* Asks by a hello; a server that wants to know whose we are is told, and asked again. */
static dp_err session_prove(struct dp_client *client, Dp__Header *hello, uint64_t deadline_ms, dp_error *err)
{
    struct client_proof proof = {.why.code = DP_OK};
    dp_err e = session_ask(client, hello, DP__HEADER__BODY_WELCOME, deadline_ms, err);
    for (int i = 0; e == DP_REFUSED && client->question.challenge.given && i < CLIENT_PROOFS_MAX;
         i = client->question.waited ? 0 : i + 1) {
        const struct proof_claim claim = {.purpose = DP__HEADER__BODY_HELLO, .worker = client->worker_id};
        client_proof_make(client->secret_file, &client->question.challenge, &claim, &proof);
        client_proof_put(&proof, hello);
        hello->request = ++client->request;
        e = session_ask(client, hello, DP__HEADER__BODY_WELCOME, deadline_ms, err);
    }
    return e == DP_REFUSED ? client_proof_explain(&proof, err) : e;
}

static dp_err session_hello(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    char name[FRAME_NAME_MAX + 1], numerics[FRAME_NAME_MAX + 1];
    Dp__Hello body = DP__HELLO__INIT;
    Dp__Header header = session_header(client);
    text_clean(name, sizeof name, client->name);
    text_clean(numerics, sizeof numerics, numerics_fingerprint());
    header.incarnation = 0; /* the session is that before, if there was one: it says whose number this is */
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &body;
    body.magic = FRAME_MAGIC;
    body.protocol_major = FRAME_MAJOR;
    body.protocol_minor = FRAME_MINOR;
    body.features = FRAME_FEATURE_TABLES | FRAME_FEATURE_ASK | (client->shm_mode == DP_SHM_OFF ? 0 : FRAME_FEATURE_SHM);
    body.role = DP__HELLO__ROLE__WORKER;
    body.worker = client->worker_id;
    body.name = name;
    body.numerics = numerics;
    body.threads = client->threads;
    body.pid = (uint32_t)getpid();
    return session_prove(client, &header, deadline_ms, err);
}

static dp_err session_open_once(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    const struct link_limits limits = {.queue = HEAD_QUEUE, .bytes_max = FRAME_HEADER_BYTES_MAX};
    dp_err e =
        session_reach(client, &client->head, "is dp-server running there?", deadline_ms, &client->head_address, err);
    if (e == DP_OK)
        e = link_open(&client->head_link, client->zmq, client->server, &client->head_address, limits, err);
    if (e)
        return e;
    e = session_hello(client, deadline_ms, err);
    const struct beat_target target = {.name = client->server,
                                       .address = &client->head_address,
                                       .session = client->session,
                                       .incarnation = client->incarnation,
                                       .interval_ms = client->heartbeat_ms};
    if (e == DP_OK)
        e = beat_start(&client->beat, client->zmq, &target, err);
    outage_forget(client);
    if (e) /* where it is we who refuse, the server has a session of us */
        session_close(client, (e == DP_REFUSED || client->anew) && session_bye(client, e, err->text) == DP_OK
                                  ? BYE_LINGER_MS
                                  : 0);
    return e;
}

/* A server that was short of descriptors and cannot be reached later may be so for that; one that has none left at all
 * closes connections without an answer. */
static dp_err tell_before(const dp_error *busy, bool cut, dp_error *err)
{
    dp_error last = *err;
    if (last.code != DP_UNREACHABLE || (busy->code == DP_OK && !cut))
        return last.code;
    if (busy->code)
        return dp_fail(err, last.code, "%.250s (before that it said: %.200s)", last.text, busy->text);
    return dp_fail(err, last.code,
                   "%.300s (connections are closed before an answer: a dp-server without descriptors, ulimit -n, does "
                   "that, and its log says so)",
                   last.text);
}

/* What the time since then has come to. */
static dp_err never_welcome(const struct dp_client *client, uint64_t begin_ms, const dp_error *busy, bool cut,
                            dp_error *err)
{
    if (busy->code)
        return dp_fail(err, busy->code, "%s: %.400s (tried for %llu s)", client->server, busy->text,
                       (unsigned long long)seconds(mono_ms() - begin_ms));
    (void)no_answer(client, begin_ms, err);
    return tell_before(busy, cut, err);
}

/* A connection that breaks before the answer may be that of a server that was just ending: look for it again. So does a
 * server that is short of descriptors ask for. */
dp_err session_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    uint64_t begin_ms = mono_ms(), wait_ms = client->timing.retry;
    client->busy.code = DP_OK;
    client->busy_begin_ms = mono_ms();
    dp_error busy = {.code = DP_OK};
    bool cut = false;
    for (;;) {
        client->question = (struct session_question){0};
        dp_err e = session_open_once(client, deadline_ms, err);
        bool come_again = e == DP_BUSY && client->question.hang_up, asked = client->question.awaited != 0;
        if (e == DP_OK || client->anew)
            return e;
        if (e == DP_UNREACHABLE && asked && busy.code) /* it had no time for an answer */
            return never_welcome(client, begin_ms, &busy, cut, err);
        if (!session_lost(e) && !come_again)
            return tell_before(&busy, cut, err);
        if (come_again && busy.code == DP_OK)
            client_notice(client, "%s: %.300s; trying again", client->server, err->text);
        if (come_again) {
            busy = *err;
            wait_ms = client->timing.retry_max;
        }
        cut |= !come_again;
        if (left_ms(deadline_ms) > 0) {
            e = session_back_off(client, MIN(retry_jitter(client, wait_ms), left_ms(deadline_ms)), err);
            if (e)
                return e;
        }
        if (left_ms(deadline_ms) == 0)
            return never_welcome(client, begin_ms, &busy, cut, err);
        wait_ms = MIN(2 * wait_ms, client->timing.retry_max);
    }
}

/* A server that does not know tables would take ours for dense tensors. */
static dp_err session_check_tables(const struct dp_client *client, dp_error *err)
{
    for (size_t i = 0; i < client->join->n_tensors; i++)
        if (client->join->tensors[i]->kind != DP__TENSOR__KIND__DENSE && !(client->features & FRAME_FEATURE_TABLES))
            return dp_fail(err, DP_VERSION,
                           "tensor '%s' is a table, which %s does not know: install the same version of dp on both",
                           client->join->tensors[i]->name, client->server);
    return DP_OK;
}

dp_err session_join(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    dp_err tables = session_check_tables(client, err);
    if (tables)
        return tables;
    Dp__Header header = session_header(client);
    client->busy.code = DP_OK;
    client->busy_begin_ms = mono_ms();
    header.body_case = DP__HEADER__BODY_JOIN;
    header.join = client->join;
    dp_err e = session_ask(client, &header, DP__HEADER__BODY_JOINED, deadline_ms, err);
    if (e == DP_OK)
        e = plane_open(client, deadline_ms, err);
    return e;
}

void session_close(struct dp_client *client, int linger_ms)
{
    beat_stop(&client->beat);
    link_close(&client->head_link, linger_ms);
}

static dp_err session_rejoin_once(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    plane_close(client);
    session_close(client, 0);
    client->duty = (struct duty){0};
    dp_err e = session_open(client, deadline_ms, err);
    return e ? e : session_join(client, deadline_ms, err);
}

/* A session may be lost again at once, by the head or by a shard that does not know it: hence the waits, and a deadline
 * for the whole row of rejoins, until parameters come or a session holds. */
dp_err session_rejoin(struct dp_client *client, dp_error *err)
{
    if (client->rejoined_ms && mono_ms() - client->rejoined_ms > client_patience_ms(client))
        client->rejoin_wait_ms = 0;
    client->rejoined_ms = 0;
    if (client->rejoin_wait_ms == 0) {
        client->rejoin_begin_ms = mono_ms();
        client_notice(client, "lost the session with %s, joining again", client->server);
    }
    uint64_t deadline_ms = client->rejoin_begin_ms + client->server_timeout_ms;
    for (;;) {
        if (client->rejoin_wait_ms && left_ms(deadline_ms) == 0)
            return dp_fail(err, DP_UNREACHABLE, "%s, or a shard of it, does not keep our session (tried for %llu s)",
                           client->server, (unsigned long long)seconds(client->server_timeout_ms));
        dp_err e = session_back_off(client, retry_jitter(client, client->rejoin_wait_ms), err);
        if (e)
            return e;
        client->rejoin_wait_ms = MAX(MIN(2 * client->rejoin_wait_ms, client->timing.retry_max), client->timing.retry);
        e = session_rejoin_once(client, deadline_ms, err);
        if (session_lost(e) && !client->anew)
            continue;
        if (e == DP_OK) {
            client->rejoined_ms = mono_ms();
            client_notice(client, "joined %s again", client->server);
            plane_resend_all(client);
        }
        return e;
    }
}

dp_err session_bye(struct dp_client *client, dp_err code, const char *text)
{
    char clean[FRAME_TEXT_MAX + 1];
    Dp__Bye body = DP__BYE__INIT;
    Dp__Header header = session_header(client);
    if (!client->head_link.socket || !client->session)
        return DP_UNREACHABLE;
    text_clean(clean, sizeof clean, text ? text : "");
    body.code = (uint32_t)code;
    body.text = clean;
    header.body_case = DP__HEADER__BODY_BYE;
    header.bye = &body;
    return link_send(&client->head_link, &header, NULL, 0);
}
