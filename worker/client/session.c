/* The session with the head: finding it, hello, join, all of it again after a loss.
 *
 * A session that was lost is taken up on new sockets, so that nothing of the old one is under way any more.
 * Thread: the one that uses the client. */
#include "worker/client/session.h"

#include <assert.h>
#include <unistd.h>

#include "common/base/deadline.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/kernels/numerics.h"
#include "worker/client/contact/reach.h"
#include "worker/client/head.h"
#include "worker/client/plane/outage.h"
#include "worker/client/question.h"
#include "worker/client/shards.h"
#include "worker/client/state.h"

enum { HEAD_QUEUE = 1000 };

static bool session_lost(dp_err code)
{
    return code == DP_HELLO_REQUIRED || code == DP_INCARNATION;
}

static struct reach_way way_of(struct dp_client *client)
{
    return (struct reach_way){&client->timing, &client->tell, client->session.worker};
}

/* Asks by a hello; a server that wants to know whose we are is told, and asked again. */
static dp_err session_prove(struct dp_client *client, Dp__Header *hello, uint64_t deadline_ms, dp_error *err)
{
    struct client_proof proof = {.why.code = DP_OK};
    dp_err e = question_ask(client, hello, DP__HEADER__BODY_WELCOME, deadline_ms, err);
    for (int i = 0; e == DP_REFUSED && client->head.question.challenge.given && i < CLIENT_PROOFS_MAX;
         i = client->head.question.waited ? 0 : i + 1) {
        const struct proof_claim claim = {.purpose = DP__HEADER__BODY_HELLO, .worker = client->session.worker};
        client_proof_make(client->config.secret_file, &client->head.question.challenge, &claim, &proof);
        client_proof_put(&proof, hello);
        hello->request = ++client->session.request;
        e = question_ask(client, hello, DP__HEADER__BODY_WELCOME, deadline_ms, err);
    }
    return e == DP_REFUSED ? client_proof_explain(&proof, err) : e;
}

static dp_err session_hello(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    char name[FRAME_NAME_MAX + 1], numerics[FRAME_NAME_MAX + 1];
    Dp__Hello body = DP__HELLO__INIT;
    Dp__Header header = session_header(&client->session);
    text_clean(name, sizeof name, client->config.name);
    text_clean(numerics, sizeof numerics, numerics_fingerprint());
    header.incarnation = 0; /* the session is that before, if there was one: it says whose number this is */
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &body;
    body.magic = FRAME_MAGIC;
    body.protocol_major = FRAME_MAJOR;
    body.protocol_minor = FRAME_MINOR;
    body.features =
        FRAME_FEATURE_TABLES | FRAME_FEATURE_ASK | (client->config.shm == DP_SHM_OFF ? 0 : FRAME_FEATURE_SHM);
    body.role = DP__HELLO__ROLE__WORKER;
    body.worker = client->session.worker;
    body.name = name;
    body.numerics = numerics;
    body.threads = client->config.threads;
    body.pid = (uint32_t)getpid();
    return session_prove(client, &header, deadline_ms, err);
}

static dp_err session_open_once(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    const struct link_limits limits = {.queue = HEAD_QUEUE, .bytes_max = FRAME_HEADER_BYTES_MAX};
    const struct reach_way way = way_of(client);
    dp_err e =
        reach_server(&way, &client->head.named, "is dp-server running there?", deadline_ms, &client->head.address, err);
    if (e == DP_OK)
        e = link_open(&client->head.link, client->zmq, client->config.server, &client->head.address, limits, err);
    if (e)
        return e;
    e = session_hello(client, deadline_ms, err);
    const struct beat_target target = {.name = client->config.server,
                                       .address = &client->head.address,
                                       .session = client->session.id,
                                       .incarnation = client->session.incarnation,
                                       .interval_ms = client->session.heartbeat_ms};
    if (e == DP_OK)
        e = beat_start(&client->beat, client->zmq, &target, err);
    outage_forget(&client->plane);
    if (e) /* if it is we who refuse, the server has a session of us */
        session_close(client, (e == DP_REFUSED || client->head.anew) && head_bye(client, e, err->text) == DP_OK
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

/* The time since `begin_ms` is up, and no server has welcomed us. */
static dp_err never_welcome(const struct dp_client *client, uint64_t begin_ms, const dp_error *busy, bool cut,
                            dp_error *err)
{
    if (busy->code)
        return dp_fail(err, busy->code, "%s: %.400s (tried for %llu s)", client->config.server, busy->text,
                       (unsigned long long)deadline_seconds(mono_ms() - begin_ms));
    (void)!question_unanswered(client, begin_ms, err);
    return tell_before(busy, cut, err);
}

/* A connection that breaks before the answer may be that of a server that was just ending: look for it again. So does a
 * server that is short of descriptors ask for. */
dp_err session_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    uint64_t begin_ms = mono_ms(), wait_ms = client->timing.retry;
    busy_begin(&client->busy);
    dp_error busy = {.code = DP_OK};
    bool cut = false;
    for (;;) {
        client->head.question = (struct head_question){0};
        dp_err e = session_open_once(client, deadline_ms, err);
        bool come_again = e == DP_BUSY && client->head.question.hang_up, asked = client->head.question.awaited != 0;
        if (e == DP_OK || client->head.anew)
            return e;
        if (e == DP_UNREACHABLE && asked && busy.code) /* it had no time for an answer */
            return never_welcome(client, begin_ms, &busy, cut, err);
        if (!session_lost(e) && !come_again)
            return tell_before(&busy, cut, err);
        if (come_again && busy.code == DP_OK)
            tell_notice(&client->tell, "%s: %.300s; trying again", client->config.server, err->text);
        if (come_again) {
            busy = *err;
            wait_ms = client->timing.retry_max;
        }
        cut |= !come_again;
        if (deadline_left_ms(deadline_ms) > 0) {
            const struct reach_way way = way_of(client);
            e = reach_pause(&way, MIN(reach_jitter(&way, wait_ms), deadline_left_ms(deadline_ms)), err);
            if (e)
                return e;
        }
        if (deadline_left_ms(deadline_ms) == 0)
            return never_welcome(client, begin_ms, &busy, cut, err);
        wait_ms = MIN(2 * wait_ms, client->timing.retry_max);
    }
}

/* A server that does not know tables would take ours for dense tensors. */
static dp_err session_check_tables(const struct dp_client *client, dp_error *err)
{
    for (size_t i = 0; i < client->join->n_tensors; i++)
        if (client->join->tensors[i]->kind != DP__TENSOR__KIND__DENSE &&
            !(client->session.features & FRAME_FEATURE_TABLES))
            return dp_fail(err, DP_VERSION,
                           "tensor '%s' is a table, which %s does not know: install the same version of dp on both",
                           client->join->tensors[i]->name, client->config.server);
    return DP_OK;
}

dp_err session_join(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    assert(client->join);
    dp_err tables = session_check_tables(client, err);
    if (tables)
        return tables;
    Dp__Header header = session_header(&client->session);
    busy_begin(&client->busy);
    header.body_case = DP__HEADER__BODY_JOIN;
    header.join = client->join;
    dp_err e = question_ask(client, &header, DP__HEADER__BODY_JOINED, deadline_ms, err);
    if (e == DP_OK)
        e = shards_open(client, deadline_ms, err);
    return e;
}

void session_close(struct dp_client *client, int linger_ms)
{
    beat_stop(&client->beat);
    link_close(&client->head.link, linger_ms);
}

static dp_err session_rejoin_once(struct dp_client *client, uint64_t deadline_ms, dp_error *err)
{
    shards_close(client);
    session_close(client, 0);
    client->duty = (struct duty){0};
    dp_err e = session_open(client, deadline_ms, err);
    return e ? e : session_join(client, deadline_ms, err);
}

/* Another incarnation began at a checkpoint, or anew. */
static void tell_joined_again(struct dp_client *client)
{
    if (client->session.incarnation == client->rejoin.incarnation)
        tell_notice(&client->tell, "joined %s again", client->config.server);
    else
        tell_notice(&client->tell, "joined %s again; the job went on at step %llu", client->config.server,
                    (unsigned long long)client->head.train_step);
}

/* A session may be lost again at once, by the head or by a shard that does not know it: hence the waits, and a deadline
 * for the whole row of rejoins, until parameters come or a session holds. */
dp_err session_rejoin(struct dp_client *client, dp_error *err)
{
    if (client->rejoin.held_ms && mono_ms() - client->rejoin.held_ms > session_patience_ms(&client->session))
        client->rejoin.wait_ms = 0;
    client->rejoin.held_ms = 0;
    if (client->rejoin.wait_ms == 0) {
        client->rejoin.begin_ms = mono_ms();
        client->rejoin.incarnation = client->session.incarnation;
        tell_notice(&client->tell, "lost the session with %s, joining again", client->config.server);
    }
    uint64_t deadline_ms = client->rejoin.begin_ms + client->config.server_timeout_ms;
    for (;;) {
        if (client->rejoin.wait_ms && deadline_left_ms(deadline_ms) == 0)
            return dp_fail(err, DP_UNREACHABLE, "%s, or a shard of it, does not keep our session (tried for %llu s)",
                           client->config.server,
                           (unsigned long long)deadline_seconds(client->config.server_timeout_ms));
        const struct reach_way way = way_of(client);
        dp_err e = reach_pause(&way, reach_jitter(&way, client->rejoin.wait_ms), err);
        if (e)
            return e;
        client->rejoin.wait_ms = MAX(MIN(2 * client->rejoin.wait_ms, client->timing.retry_max), client->timing.retry);
        e = session_rejoin_once(client, deadline_ms, err);
        if (session_lost(e) && !client->head.anew)
            continue;
        if (e == DP_OK) {
            client->rejoin.held_ms = mono_ms();
            tell_joined_again(client);
            plane_resend_all(&client->plane);
        }
        return e;
    }
}

void rejoin_ends(struct rejoin *rejoin)
{
    rejoin->wait_ms = 0;
}

dp_err session_resume(struct dp_client *client, dp_error *err)
{
    uint64_t for_ms = atomic_load_explicit(&client->beat.outage_told_ms, memory_order_relaxed);
    outage_forget(&client->plane);
    tell_notice(&client->tell, "%s can be reached again after %llu s, making all connections anew",
                client->config.server, (unsigned long long)(for_ms + 500) / 1000);
    if (client->plane.carrier.ops->of_session) /* memory that the shards lent to a session goes with it */
        return session_rejoin(client, err);
    dp_err e = link_reopen(&client->head.link, err);
    if (e == DP_OK)
        e = session_join(client, mono_ms() + client->config.server_timeout_ms, err);
    if (e == DP_HELLO_REQUIRED || e == DP_INCARNATION)
        return session_rejoin(client, err);
    if (e == DP_OK)
        plane_resend_all(&client->plane);
    return e;
}
