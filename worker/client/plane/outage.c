/* Interruptions of the way to the server.
 *
 * Two kinds are told apart. While nothing at all gets through, the heartbeats' thread tries anew, and once it is
 * answered all other connections are made anew too, since TCP would leave them alone for about as long as the outage
 * has lasted; the session stays. If heartbeats get through and a shard's connection does not move, that alone is
 * made anew: large packets may be lost on the way, or a firewall may have forgotten the connection. Thread: the one
 * that uses the client. */
#include "worker/client/plane/outage.h"

#include "common/base/clock.h"
#include "common/base/util.h"
#include "worker/client/plane/ask.h"
#include "worker/client/plane/plane.h"

enum {
    LOOK_MS = 500,     /* between looks at the connections */
    STUCK_MS = 5000,   /* nothing that was sent is acknowledged */
    NOTICE_MS = 30000, /* between notices about one shard */
};

bool outage_is_over(struct plane *plane)
{
    return atomic_load_explicit(&plane->beat->outages, memory_order_acquire) != plane->outage.seen;
}

void outage_forget(struct plane *plane)
{
    plane->outage.seen = atomic_load_explicit(&plane->beat->outages, memory_order_acquire);
}

/* Messages lost with a lane are sent again as soon as it is back; people are told of the shard as a whole. A shard that
 * stays away while the head is there is looked for anew, which tells the server too: see reach_shard.c. */
void outage_news(struct plane *plane, struct shard *shard)
{
    bool lost = false;
    for (uint32_t i = 0; i < shard->lane_count; i++) {
        if (link_news(&shard->lanes[i]) == LINK_BACK) {
            ask_greet(plane, shard, i);
            shard_lane_lost(plane, shard);
        }
        lost |= shard->lanes[i].lost;
    }
    if (lost && !shard->lost)
        tell_notice(plane->tell, "lost the connection to shard %s, connecting again", shard_name(shard));
    else if (!lost && shard->lost)
        tell_notice(plane->tell, "shard %s is back", shard_name(shard));
    if (lost && !shard->lost)
        shard->lost_ms = mono_ms();
    else if (lost && mono_ms() - shard->lost_ms > plane->timing->shard_lost)
        plane->session->lost = true;
    shard->lost = lost;
}

static void tell_stuck(struct plane *plane, struct shard *shard, const char *what, uint64_t for_ms, uint64_t now_ms)
{
    if (now_ms < shard->stuck_notice_ms)
        return;
    shard->stuck_notice_ms = now_ms + NOTICE_MS;
    tell_notice(plane->tell,
                "%s shard %s for %llu s, though heartbeats pass: does the way there lose large packets (a wrong MTU)? "
                "try a smaller one on this host (ip link set dev DEV mtu 1280); connecting again",
                what, shard_name(shard), (unsigned long long)(for_ms / 1000));
}

/* Whether it was made anew. */
static bool lane_renew(struct plane *plane, struct shard *shard, struct link *lane)
{
    dp_error err;
    if (link_reopen(lane, &err)) { /* its socket is closed: begin with new ones */
        plane->session->lost = true;
        return false;
    }
    ask_greet(plane, shard, (uint32_t)(lane - shard->lanes));
    shard_lane_lost(plane, shard);
    return true;
}

/* Bytes that have come by all lanes; also adds up what has moved by them. */
static uint64_t lanes_look(struct plane *plane, struct shard *shard, uint64_t now_ms)
{
    uint64_t received = 0;
    for (uint32_t k = 0; k < shard->lane_count && !plane->session->lost; k++) {
        struct link *lane = &shard->lanes[k];
        struct path_state state;
        if (!path_look(lane->tcp, &state))
            continue;
        const struct path_watch before = lane->watch;
        uint64_t stuck_ms = path_stuck_ms(&lane->watch, &state, now_ms);
        uint64_t moved =
            MAX(state.acked, before.acked) - before.acked + MAX(state.received, before.received) - before.received;
        atomic_fetch_add_explicit(&plane->beat->moved_bytes, moved, memory_order_relaxed);
        received += state.received;
        if (stuck_ms < STUCK_MS || !beat_is_well(plane->beat, STUCK_MS, now_ms))
            continue;
        tell_stuck(plane, shard, "nothing arrives at", stuck_ms, now_ms);
        (void)lane_renew(plane, shard, lane);
    }
    return received;
}

/* A question that has no answer when the next one is due, while nothing at all comes by the shard's connections. */
void outage_unanswered(struct plane *plane, struct shard *shard, uint64_t now_ms)
{
    uint64_t received = lanes_look(plane, shard, now_ms);
    bool stuck = shard->ask_open > 0 && received == shard->ask_received && received > 0 &&
                 beat_is_well(plane->beat, STUCK_MS, now_ms);
    shard->ask_received = received;
    if (!stuck)
        return;
    tell_stuck(plane, shard, "nothing comes from", shard->resend_wait_ms, now_ms);
    for (uint32_t k = 0; k < shard->lane_count; k++)
        if (!lane_renew(plane, shard, &shard->lanes[k]))
            return;
}

void outage_look(struct plane *plane, uint64_t now_ms)
{
    if (now_ms < plane->outage.look_ms)
        return;
    plane->outage.look_ms = now_ms + LOOK_MS;
    for (uint32_t i = 0; i < plane->shard_count; i++)
        (void)lanes_look(plane, &plane->shards[i], now_ms);
}
