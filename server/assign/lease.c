/* Leases: members that are silent for too long, or whose connections are gone, are lost. Thread: head. */
#include "server/assign/lease.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/base/util.h"
#include "server/assign/assign.h"
#include "server/assign/balance.h"
#include "server/assign/quorum.h"
#include "server/assign/ranks.h"
#include "server/talk/leave.h"
#include "server/talk/post.h"
#include "server/talk/reach.h"
#include "server/talk/shared.h"

/* Whether it is worth knowing if the member is still connected: somebody waits for it, or it should have been heard of.
 * To ask all of hundreds of idle ones all the time would cost more than the job. */
static bool is_suspect(const struct head *head, uint32_t number, uint64_t now_ms)
{
    const struct speculation *s = &head->balance->speculation;
    uint64_t seen_ms = head->members.list[number].last_seen_ms;
    return (s->list && (s->list[number].open > 0 || s->list[number].delivery.owed_us > 0)) ||
           now_ms - MIN(now_ms, seen_ms) > (FRAME_HEARTBEAT_IDLE + 1) * head_heartbeat_ms(head);
}

static void check_members(struct head *head, uint64_t now_ms, bool probe)
{
    char silent[64];
    uint64_t lease_ms = head->opts->lease_s * 1000;
    for (uint32_t i = 0; i < head->members.used; i++) {
        struct member *member = &head->members.list[i];
        if (member->state == MEMBER_NONE)
            continue;
        bool look = member->unreached || (probe && is_suspect(head, i, now_ms));
        member->unreached = false;
        if (now_ms - MIN(now_ms, member->last_seen_ms) > lease_ms) {
            snprintf(silent, sizeof silent, "silent for %" PRIu64 " s", head->opts->lease_s);
            head_lose(head, member, "its lease ran out", silent);
        } else if (look && !head_reachable(head, member)) {
            head_lose_unconnected(head, member);
        }
    }
}

/* Not at once: the workers of a job's last steps leave before the shards have told of those. */
void head_lease_alone(struct head *head, const struct news *news)
{
    (void)news;
    bool alone = head->job.settled && head->state == HEAD_RUNNING && !head_has_enough(head);
    if (alone && !head->lease->stands_still)
        return;
    if (alone && !head->lease->alone)
        log_warn("too-few-workers step=%" PRIu64 " joined=%u waiting_for=\"%" PRIu64 " more\"", head->global_low,
                 head->members.joined, head_missing(head));
    head->lease->alone = alone;
}

/* Time in which this process was frozen, its machine slept, or the port was busy is nobody's silence: what has come
 * meanwhile is read after this. */
static void forgive_sleep(struct head *head, uint64_t now_ms)
{
    uint64_t gap_ms = now_ms - head->lease->ticks.last_ms, slept_ms = ticks_slept_ms(&head->lease->ticks, now_ms);
    bool stuck = head_post_stuck(head, now_ms);
    if (slept_ms == 0 && !stuck)
        return;
    if (slept_ms > 0)
        log_warn("server-slept for_ms=%" PRIu64 " action=\"workers are given as much time\"", slept_ms);
    for (uint32_t i = 0; i < head->members.used; i++) {
        struct member *member = &head->members.list[i];
        member->last_seen_ms = MIN(member->last_seen_ms + gap_ms, now_ms);
    }
    head->moved_ms += slept_ms;
    head->ranks->dealt_ms += slept_ms;
}

void head_lease_watch(struct head *head, const struct news *news)
{
    struct lease *lease = head->lease;
    forgive_sleep(head, news->now_ms);
    lease->stands_still = head->global_low == lease->low_seen;
    lease->low_seen = head->global_low;
    check_members(head, news->now_ms, lease->stands_still);
}

void head_lease_send_again(struct head *head, const struct news *news)
{
    (void)news;
    for (uint32_t i = 0; i < head->members.used && head->state == HEAD_RUNNING; i++) {
        if (head->members.list[i].state != MEMBER_JOINED || !head->members.list[i].untold)
            continue;
        if (head->job.core.local)
            head_ranks_tell(head, i);
        else
            head_assign(head, i);
    }
}

void head_lease_stop(struct head *head)
{
    head->lease->alone = false;
}
