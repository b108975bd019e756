/* The data plane: pushes and pulls over the shards.
 *
 * A message is sent once for each piece: a slice, or a part of a table (piece.c). A lost
 * message is sent again. The shard says which ones it lacks (ask.c): it is asked after a connection was made anew,
 * after BUSY, and if there is no answer for long. A little is sent again at once. A server that cannot be asked is sent
 * everything after a connection was made anew; if there is merely no answer for long, first the pulls, which cost
 * nothing, then everything. All of it is idempotent. Thread: the one that uses the client. */

#include "worker/client/plane.h"

#include <assert.h>

#include "common/base/util.h"
#include "worker/client/ask.h"
#include "worker/client/outage.h"
#include "worker/client/piece.h"
#include "worker/client/state.h"

_Static_assert((int)ARRIVAL_STALENESS_MAX == (int)FRAME_STALENESS_MAX, "a step may be as stale as messages say");

/* A pull that has no answer is asked again after a while; `asked_again` turns on and off, see above. */
static void pull_watch(struct dp_client *client, struct shard *shard)
{
    shard->resend_wait_ms = client->timing.resend;
    shard->busy_wait_ms = 0;
    shard->resend_pushes = false;
    shard->asked_again = false;
    shard->resend_at_ms = mono_ms() + shard->resend_wait_ms;
}

/* Sends nodes [first, sent_count) of the step and then, with the last of them, the pull. */
static void shard_send(struct dp_client *client, struct shard *shard, uint32_t first, bool pull)
{
    for (uint32_t i = 0; i < piece_count(shard); i++) {
        uint32_t piece = piece_id(client, shard, i);
        bool missing = piece_missing(client, piece);
        if (!missing && client->arrival.staleness == 0)
            continue; /* it has what is sent, since it has answered */
        for (uint32_t n = first; n < client->plane.sent_count; n++)
            piece_send(client, shard, piece, &client->plane.sent[n],
                       pull && missing && n + 1 == client->plane.sent_count);
        if (pull && missing && first >= client->plane.sent_count)
            piece_send(client, shard, piece, NULL, true);
    }
}

/* To all shards. */
static void plane_send(struct dp_client *client, uint32_t first, bool pull)
{
    for (uint32_t i = 0; i < client->plane.shard_count; i++) {
        struct shard *shard = &client->plane.shards[i];
        bool again = pull && shard->resend_at_ms && shard->resend_pushes; /* the watch begins anew: send them now */
        bool ask = again && ask_first(client, shard, true);
        if (pull)
            pull_watch(client, shard);
        shard_send(client, shard, again && !ask ? 0 : first, pull);
        if (ask)
            shard_resend_at(shard, mono_ms(), true);
    }
    client->plane.pulled |= pull;
}

dp_err plane_init(struct plane *plane, uint32_t slots, dp_error *err)
{
    plane->sent = mem_array_zero(slots, sizeof *plane->sent);
    return plane->sent ? DP_OK : dp_fail(err, DP_NOMEM, "no memory for %u slots", slots);
}

void plane_fini(struct plane *plane)
{
    plane_drop_sent(plane);
    mem_freep(&plane->sent);
}

void plane_keep(struct dp_client *client, const struct sent_node *node)
{
    assert(client->plane.sent_count < client->job.view.slots);
    client->plane.sent[client->plane.sent_count++] = *node;
}

void plane_push(struct dp_client *client, bool pull)
{
    assert(client->plane.sent_count > 0);
    plane_send(client, client->plane.sent_count - 1, pull);
}

void plane_drop_sent(struct plane *plane)
{
    for (uint32_t i = 0; i < plane->sent_count; i++)
        value_drop(&plane->sent[i].value);
    plane->sent_count = 0;
}

void plane_pull(struct dp_client *client)
{
    plane_send(client, client->plane.sent_count, true);
}

void plane_pull_more(struct dp_client *client)
{
    for (uint32_t i = 0; i < client->plane.shard_count; i++) {
        struct shard *shard = &client->plane.shards[i];
        shard_resend_at(shard, mono_ms() + client->timing.resend, false);
        piece_pull_more(client, shard);
    }
}

/* On arrival no answer depends on pushes, so that a shard may lack some where nothing is missing. */
static void shard_resend(struct dp_client *client, struct shard *shard, uint64_t now_ms)
{
    const bool arrival = client->arrival.staleness > 0, missing = piece_any_missing(client, shard);
    const bool lacking = piece_any_lacks(client, shard);
    const bool lost = shard->resend_pushes, pushes = lost || (missing && (shard->asked_again || arrival));
    shard->resend_at_ms = 0;
    shard->resend_pushes = false;
    shard->asked_again = missing && !pushes;
    if ((missing && client->plane.pulled) || lacking) {
        shard->resend_wait_ms = MIN(MAX(2 * shard->resend_wait_ms, client->timing.resend), client->timing.resend_max);
        shard->resend_at_ms = now_ms + shard->resend_wait_ms;
    }
    piece_pull_more(client, shard);
    if (ask_first(client, shard, lost)) {
        shard->asked_again = false;
        outage_unanswered(client, shard, now_ms);
        if (!client->session.lost)
            ask_send(client, shard);
    } else if (missing || (arrival && pushes)) {
        shard_send(client, shard, pushes ? 0 : client->plane.sent_count, client->plane.pulled);
    }
}

void plane_resend_due(struct dp_client *client, uint64_t now_ms)
{
    for (uint32_t i = 0; i < client->plane.shard_count; i++) {
        struct shard *shard = &client->plane.shards[i];
        if (shard->resend_at_ms && now_ms >= shard->resend_at_ms)
            shard_resend(client, shard, now_ms);
    }
}

void plane_resend_all(struct dp_client *client)
{
    arrival_doubt(&client->arrival);
    for (uint32_t i = 0; i < client->plane.shard_count; i++)
        shard_resend_at(&client->plane.shards[i], mono_ms(), true);
}
