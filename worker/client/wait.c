/* Waiting for the next step: deadlines, what is sent again, and what people are told. Thread: the one that uses the
 * client. */
#include "worker/client/wait.h"

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/client/plane/outage.h"
#include "worker/client/plane/piece.h"
#include "worker/client/plane/plane.h"
#include "worker/client/state.h"

/* A waiting loop that was away for longer has computed, or slept with its machine. */
enum { GAP_MS = 2000 };

/* Tells what a step waits for when nothing has come for long. */
static void notice_waiting(struct dp_client *client, uint64_t now_ms)
{
    if (client->wait.notice_gap_ms == 0) {
        client->wait.notice_gap_ms = client->timing.wait_notice;
        client->wait.notice_ms = client->plane.progress_ms + client->wait.notice_gap_ms;
    }
    if (now_ms < client->wait.notice_ms)
        return;
    char where[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < client->plane.shard_count; i++)
        if (piece_any_missing(&client->plane, &client->plane.shards[i]))
            str_append(where, sizeof where, &at, "%s%s", at ? ", " : "", shard_name(&client->plane.shards[i]));
    tell_notice(&client->tell, "waiting for step %llu since %llu s: %u of %u pieces have not come from %s",
                (unsigned long long)client->plane.theta.want,
                (unsigned long long)(now_ms - client->plane.progress_ms) / 1000,
                client->plane.theta.counts[THETA_MISSING], client->plane.theta.piece_count, where);
    client->wait.notice_gap_ms *= 2;
    client->wait.notice_ms = now_ms + client->wait.notice_gap_ms;
}

/* Time since the server was last heard of, as far as we were awake to hear it. */
static uint64_t silence_ms(struct dp_client *client, uint64_t now_ms)
{
    if (now_ms - client->wait.awake_ms > GAP_MS)
        client->wait.awake_since_ms = now_ms;
    client->wait.awake_ms = now_ms;
    uint64_t heard = atomic_load_explicit(&client->beat.heard_ms, memory_order_relaxed);
    heard = MAX(MAX(heard, client->session.heard_ms), client->wait.awake_since_ms);
    return now_ms > heard ? now_ms - heard : 0;
}

bool wait_head_alive(struct dp_client *client)
{
    return !client->head.link.lost && silence_ms(client, mono_ms()) < session_patience_ms(&client->session);
}

static dp_err check_silence(struct dp_client *client, uint64_t now_ms, dp_error *err)
{
    uint64_t silence = silence_ms(client, now_ms), timeout = client->config.server_timeout_ms;
    if (silence >= timeout)
        return dp_fail(err, DP_UNREACHABLE, "%s has not been heard of for %llu s", client->config.server,
                       (unsigned long long)silence / 1000);
    if (silence < session_patience_ms(&client->session)) {
        if (client->wait.silence_notice_ms)
            tell_notice(&client->tell, "%s answers again", client->config.server);
        client->wait.silence_notice_ms = 0;
    } else if (now_ms >= client->wait.silence_notice_ms) {
        tell_notice(&client->tell, "%s has been silent for %llu s, waiting another %llu s", client->config.server,
                    (unsigned long long)silence / 1000, (unsigned long long)(timeout - silence) / 1000);
        client->wait.silence_notice_ms = now_ms + 2 * client->timing.notice;
    }
    return DP_OK;
}

void wait_ends(struct wait *wait)
{
    wait->notice_gap_ms = 0;
}

dp_err wait_look(struct dp_client *client, dp_error *err)
{
    return plane_wait(&client->plane, 0, err);
}

dp_err wait_once(struct dp_client *client, dp_error *err)
{
    uint64_t now = mono_ms();
    dp_err e = check_silence(client, now, err);
    if (e)
        return e;
    notice_waiting(client, now);
    outage_look(&client->plane, now);
    plane_resend_due(&client->plane, now);
    return plane_wait(&client->plane, client->timing.poll, err);
}
