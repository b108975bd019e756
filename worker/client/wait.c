/* Waiting for the next step: deadlines, what is sent again, and what people are told. Thread: the one that uses the
 * client. */
#include "common/base/util.h"
#include "worker/client/client.h"

enum {
    SILENT_BEATS = 3,     /* heartbeats without an answer before the head counts as silent, */
    SILENT_MIN_MS = 3000, /* but no sooner than this */
    GAP_MS = 2000,        /* a waiting loop that was away for longer has computed, or slept with its machine */
};

/* Tells what a step waits for when nothing has come for long. */
static void notice_waiting(struct dp_client *client, uint64_t now_ms)
{
    if (client->wait_notice_gap_ms == 0) {
        client->wait_notice_gap_ms = client->timing.wait_notice;
        client->wait_notice_ms = client->progress_ms + client->wait_notice_gap_ms;
    }
    if (now_ms < client->wait_notice_ms)
        return;
    char where[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < client->shard_count; i++)
        if (plane_missing(client, &client->shards[i]))
            str_append(where, sizeof where, &at, "%s%s", at ? ", " : "", client->shards[i].lanes[0].name);
    client_notice(client, "waiting for step %llu since %llu s: %u of %u pieces have not come from %s",
                  (unsigned long long)client->theta.want, (unsigned long long)(now_ms - client->progress_ms) / 1000,
                  client->theta.counts[THETA_MISSING], client->theta.piece_count, where);
    client->wait_notice_gap_ms *= 2;
    client->wait_notice_ms = now_ms + client->wait_notice_gap_ms;
}

/* How long nothing has been heard of the server, as far as we were awake to hear it. */
static uint64_t silence_ms(struct dp_client *client, uint64_t now_ms)
{
    if (now_ms - client->awake_ms > GAP_MS)
        client->awake_since_ms = now_ms;
    client->awake_ms = now_ms;
    uint64_t heard = atomic_load_explicit(&client->beat.heard_ms, memory_order_relaxed);
    heard = MAX(MAX(heard, client->heard_ms), client->awake_since_ms);
    return now_ms > heard ? now_ms - heard : 0;
}

uint64_t client_patience_ms(const struct dp_client *client)
{
    return MAX((uint64_t)SILENT_BEATS * client->heartbeat_ms, (uint64_t)SILENT_MIN_MS);
}

bool client_head_alive(struct dp_client *client)
{
    return !client->head_link.lost && silence_ms(client, mono_ms()) < client_patience_ms(client);
}

static dp_err check_silence(struct dp_client *client, uint64_t now_ms, dp_error *err)
{
    uint64_t silence = silence_ms(client, now_ms), timeout = client->server_timeout_ms;
    if (silence >= timeout)
        return dp_fail(err, DP_UNREACHABLE, "%s has not been heard of for %llu s", client->server,
                       (unsigned long long)silence / 1000);
    if (silence < client_patience_ms(client)) {
        if (client->silence_notice_ms)
            client_notice(client, "%s answers again", client->server);
        client->silence_notice_ms = 0;
    } else if (now_ms >= client->silence_notice_ms) {
        client_notice(client, "%s has been silent for %llu s, waiting another %llu s", client->server,
                      (unsigned long long)silence / 1000, (unsigned long long)(timeout - silence) / 1000);
        client->silence_notice_ms = now_ms + 2 * client->timing.notice;
    }
    return DP_OK;
}

dp_err client_look(struct dp_client *client, dp_error *err)
{
    return links_wait(client->links, client->link_count, client->items, 0, err);
}

dp_err client_wait(struct dp_client *client, dp_error *err)
{
    uint64_t now = mono_ms();
    dp_err e = check_silence(client, now, err);
    if (e)
        return e;
    notice_waiting(client, now);
    outage_look(client, now);
    plane_resend_due(client, now);
    return links_wait(client->links, client->link_count, client->items, client->timing.poll, err);
}
