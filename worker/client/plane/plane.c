/* The data plane: pushes and pulls over the shards.
 *
 * A message is sent once for each piece: a slice, or a part of a table (piece.c). A lost
 * message is sent again. The shard says which ones it lacks (ask.c): it is asked after a connection was made anew,
 * after BUSY, and if there is no answer for long. A little is sent again at once. A server that cannot be asked is sent
 * everything after a connection was made anew; if there is merely no answer for long, first the pulls, which cost
 * nothing, then everything. All of it is idempotent. Thread: the one that uses the client. */

#include "worker/client/plane/plane.h"

#include <assert.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "worker/client/plane/ask.h"
#include "worker/client/plane/outage.h"
#include "worker/client/plane/piece.h"

_Static_assert((int)OPEN_STEPS_STALENESS_MAX == (int)FRAME_STALENESS_MAX, "a step may be as stale as messages say");

/* A pull that has no answer is asked again after a while; `asked_again` turns on and off, see above. */
static void pull_watch(struct plane *plane, struct shard *shard)
{
    shard->resend_wait_ms = plane->timing->resend;
    shard->busy_wait_ms = 0;
    shard->resend_pushes = false;
    shard->asked_again = false;
    shard->resend_at_ms = mono_ms() + shard->resend_wait_ms;
}

/* Sends nodes [first, sent_count) of the step and then, with the last of them, the pull. */
static void shard_send(struct plane *plane, struct shard *shard, uint32_t first, bool pull)
{
    for (uint32_t i = 0; i < piece_count(shard); i++) {
        uint32_t piece = piece_id(plane, shard, i);
        bool missing = piece_missing(plane, piece);
        if (!missing && plane->open->staleness == 0)
            continue; /* it has what is sent, since it has answered */
        for (uint32_t n = first; n < plane->sent_count; n++)
            piece_send(plane, shard, piece, &plane->sent[n], pull && missing && n + 1 == plane->sent_count);
        if (pull && missing && first >= plane->sent_count)
            piece_send(plane, shard, piece, NULL, true);
    }
}

/* To all shards. */
static void plane_send(struct plane *plane, uint32_t first, bool pull)
{
    for (uint32_t i = 0; i < plane->shard_count; i++) {
        struct shard *shard = &plane->shards[i];
        bool again = pull && shard->resend_at_ms && shard->resend_pushes; /* the watch begins anew: send them now */
        bool ask = again && ask_first(plane, shard, true);
        if (pull)
            pull_watch(plane, shard);
        shard_send(plane, shard, again && !ask ? 0 : first, pull);
        if (ask)
            shard_resend_at(shard, mono_ms(), true);
    }
    plane->pulled |= pull;
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

void plane_keep(struct plane *plane, const struct sent_node *node)
{
    assert(plane->sent_count < plane->job->view.slots);
    plane->sent[plane->sent_count++] = *node;
}

void plane_push(struct plane *plane, bool pull)
{
    assert(plane->sent_count > 0);
    plane_send(plane, plane->sent_count - 1, pull);
}

void plane_drop_sent(struct plane *plane)
{
    for (uint32_t i = 0; i < plane->sent_count; i++)
        value_drop(&plane->sent[i].value);
    plane->sent_count = 0;
}

void plane_pull(struct plane *plane)
{
    plane_send(plane, plane->sent_count, true);
}

void plane_pull_more(struct plane *plane)
{
    for (uint32_t i = 0; i < plane->shard_count; i++) {
        struct shard *shard = &plane->shards[i];
        shard_resend_at(shard, mono_ms() + plane->timing->resend, false);
        piece_pull_more(plane, shard);
    }
}

/* On arrival no answer depends on pushes, so that a shard may lack some where nothing is missing. */
static void shard_resend(struct plane *plane, struct shard *shard, uint64_t now_ms)
{
    const bool arrival = plane->open->staleness > 0, missing = piece_any_missing(plane, shard);
    const bool lacking = piece_any_lacks(plane, shard);
    const bool lost = shard->resend_pushes, pushes = lost || (missing && (shard->asked_again || arrival));
    shard->resend_at_ms = 0;
    shard->resend_pushes = false;
    shard->asked_again = missing && !pushes;
    if ((missing && plane->pulled) || lacking) {
        shard->resend_wait_ms = MIN(MAX(2 * shard->resend_wait_ms, plane->timing->resend), plane->timing->resend_max);
        shard->resend_at_ms = now_ms + shard->resend_wait_ms;
    }
    piece_pull_more(plane, shard);
    if (ask_first(plane, shard, lost)) {
        shard->asked_again = false;
        outage_unanswered(plane, shard, now_ms);
        if (!plane->session->lost)
            ask_send(plane, shard);
    } else if (missing || (arrival && pushes)) {
        shard_send(plane, shard, pushes ? 0 : plane->sent_count, plane->pulled);
    }
}

void plane_resend_due(struct plane *plane, uint64_t now_ms)
{
    for (uint32_t i = 0; i < plane->shard_count; i++) {
        struct shard *shard = &plane->shards[i];
        if (shard->resend_at_ms && now_ms >= shard->resend_at_ms)
            shard_resend(plane, shard, now_ms);
    }
}

void plane_resend_all(struct plane *plane)
{
    open_steps_doubt(plane->open);
    for (uint32_t i = 0; i < plane->shard_count; i++)
        shard_resend_at(&plane->shards[i], mono_ms(), true);
}

dp_err plane_wait(struct plane *plane, uint64_t timeout_ms, dp_error *err)
{
    return links_wait(plane->links, plane->link_count, plane->items, timeout_ms, err);
}
