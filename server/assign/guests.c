/* Many sessions may come only to leave again at once, and the job would wait for slots that they were given. If more
 * than STORM_JOINS join in STORM_MS, newcomers are guests until they have stayed for GUEST_MS. Thread: head. */
#include "server/assign/guests.h"

#include "common/base/clock.h"
#include "common/base/util.h"
#include "server/assign/deal.h"
#include "server/talk/leave.h"
#include "server/talk/reach.h"
#include "server/talk/shared.h"

enum { STORM_JOINS = 16, STORM_MS = 1000, GUEST_MS = 500 };

/* Whether many have joined lately, this one included. */
static bool is_storm(struct head *head, uint64_t now_ms)
{
    struct storm *storm = head->storm;
    uint64_t passed_ms = now_ms - storm->begun_ms;
    if (passed_ms >= STORM_MS) {
        storm->before = passed_ms < 2 * (uint64_t)STORM_MS ? storm->joins : 0;
        storm->joins = 0;
        storm->begun_ms = now_ms;
    }
    storm->joins++;
    return MAX(storm->joins, storm->before) > STORM_JOINS;
}

void head_guests_joined(struct head *head, const struct news *news)
{
    if (news->again)
        return;
    struct member *member = news->member;
    const struct members *members = &head->members;
    uint64_t others = members->joined - members->guests - 1, enough = MAX(head->opts->min_workers, UINT64_C(1));
    bool storm = is_storm(head, member->joined_ms);
    if (storm && others >= enough && !head->job.core.local)
        members_guest(&head->members, member, true);
}

/* Those that have stayed are given slots; those that have gone were found out by then. */
static void see_guests(struct head *head, uint64_t now_ms)
{
    bool any = false, alone = head->members.joined == head->members.guests;
    for (uint32_t i = 0; i < head->members.used && head->members.guests > 0; i++) {
        struct member *member = &head->members.list[i];
        if (!member->guest)
            continue;
        if (alone || now_ms - MIN(now_ms, member->joined_ms) >= GUEST_MS) {
            members_guest(&head->members, member, false);
            any = true;
        } else if (!head_reachable(head, member)) {
            head_lose_unconnected(head, member);
        }
    }
    if (any)
        head_deal_soon(head);
}

/* If only guests are left, nobody else computes the slots that they wait for. */
void head_guests_left(struct head *head, const struct news *news)
{
    if (news->had_joined && head->members.guests > 0 && head->members.guests == head->members.joined)
        see_guests(head, mono_ms());
}

void head_guests_watch(struct head *head, const struct news *news)
{
    see_guests(head, news->now_ms);
}
