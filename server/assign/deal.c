/* Who computes what: deals, fences, leases and probes. Giving a slot to two workers is never wrong, only work
 * done twice: so whoever seems lost is replaced at once. Thread: head. */
#include "server/talk/shared.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "server/zmtp/sessions.h"

/* At most one deal in this time: if many workers come at once, each deal would move slots and tell of it. */
enum { DEAL_GAP_MS = 20 };
/* Many sessions may come only to leave again at once, and the job would wait for slots that they were given. If more
 * than STORM_JOINS join in STORM_MS, newcomers are guests until they have stayed for GUEST_MS. */
enum { STORM_JOINS = 16, STORM_MS = 1000, GUEST_MS = 500 };

/* What is lost with a connection is told anew when the worker joins anew. A worker that computes for long does not read
 * meanwhile, and only so many messages wait for it: unless it was told later, it would not know its slots until the
 * next deal, and the job would wait for them. */
void head_assigned(struct head *head, struct member *member, dp_err e)
{
    bool was_untold = member->untold;
    member->untold = e && e != DP_UNREACHABLE;
    if (member->untold && !was_untold && head_may_warn(head))
        log_warn("assign-lost worker=\"%s\" reason=%s action=\"sent again until it is taken\"", member->name,
                 dp_err_name(e));
}

static void tell_untold(struct head *head)
{
    for (uint32_t i = 0; i < head->members.used && head->state == HEAD_RUNNING; i++) {
        if (head->members.list[i].state != MEMBER_JOINED || !head->members.list[i].untold)
            continue;
        if (head->ranks.list)
            head_ranks_tell(head, i);
        else
            head_assign(head, i);
    }
}

/* The slots that a member holds from the next deal on. */
static Dp__Assign dealt_to(const struct dealer *dealer, uint32_t number, uint32_t *slots)
{
    Dp__Assign body = DP__ASSIGN__INIT;
    body.from_step = dealer->from;
    body.slots = slots;
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (dealer->next_owner[k] == number)
            slots[body.n_slots++] = k;
    return body;
}

dp_err head_assign_probe(struct head *head, uint32_t number, uint64_t step, uint32_t slot)
{
    AUTOFREE uint32_t *slots = mem_array(head->dealer.slots, sizeof *slots);
    Dp__Header header = DP__HEADER__INIT;
    dp_err e = slots ? head_grant_probe(head, number, step, slot) : DP_NOMEM;
    if (e)
        return e;
    Dp__Assign body = dealt_to(&head->dealer, number, slots);
    body.extra_step = step;
    body.extra_slots = &slot;
    body.n_extra_slots = 1;
    header.body_case = DP__HEADER__BODY_ASSIGN;
    header.assign = &body;
    e = head_send_about(head, ABOUT_ASSIGN, &head->members.list[number], &header);
    head_assigned(head, &head->members.list[number], e);
    return e;
}

/* Sends a member its slots. */
static void assign(struct head *head, uint32_t number, uint32_t *slots, uint32_t *extra)
{
    struct member *member = &head->members.list[number];
    const struct dealer *dealer = &head->dealer;
    member->told = true;
    Dp__Assign body = dealt_to(dealer, number, slots);
    body.extra_slots = extra;
    body.extra_step = dealer->at;
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (dealer->owner[k] == number || head->balance.speculation.slot[k].helper == number)
            extra[body.n_extra_slots++] = k;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_ASSIGN;
    header.assign = &body;
    head_assigned(head, member, head_send_about(head, ABOUT_ASSIGN, member, &header));
}

static void assign_to(struct head *head, const uint32_t *numbers, uint32_t count)
{
    AUTOFREE uint32_t *slots = mem_array(head->dealer.slots, sizeof *slots);
    AUTOFREE uint32_t *extra = mem_array(head->dealer.slots, sizeof *extra);
    dp_err e = slots && extra ? head_grant(head) : DP_NOMEM;
    if (e) {
        for (uint32_t i = 0; i < count; i++)
            head_assigned(head, &head->members.list[numbers[i]], e);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        assign(head, numbers[i], slots, extra);
}

void head_assign(struct head *head, uint32_t number)
{
    assign_to(head, &number, 1);
}

void head_assign_all(struct head *head)
{
    assign_to(head, head->numbers, members_list(&head->members, head->numbers));
}

/* ---- guests ---- */

/* Whether many have joined lately, this one included. */
static bool is_storm(struct head *head, uint64_t now_ms)
{
    struct storm *storm = &head->storm;
    uint64_t passed_ms = now_ms - storm->begun_ms;
    if (passed_ms >= STORM_MS) {
        storm->before = passed_ms < 2 * (uint64_t)STORM_MS ? storm->joins : 0;
        storm->joins = 0;
        storm->begun_ms = now_ms;
    }
    storm->joins++;
    return MAX(storm->joins, storm->before) > STORM_JOINS;
}

void head_receive(struct head *head, struct member *member)
{
    const struct members *members = &head->members;
    uint64_t others = members->joined - members->guests - 1, enough = MAX(head->opts->min_workers, UINT64_C(1));
    bool storm = is_storm(head, member->joined_ms);
    if (storm && others >= enough && !head->ranks.list)
        members_guest(&head->members, member, true);
}

/* Those that have stayed are given slots; those that have gone were found out by then. */
static void watch_guests(struct head *head, uint64_t now_ms)
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

/* ---- deals ---- */

/* Members whose slots are not those of before are to be told. If the deal holds from an earlier step than the last one
 * did, all are: they know the steps between by the deal before that. */
static void mark_changed(struct head *head, const uint32_t *owner, const uint32_t *next_owner, uint64_t from)
{
    const struct dealer *dealer = &head->dealer;
    bool earlier = dealer->from < from;
    for (uint32_t k = 0; k < dealer->slots; k++) {
        bool moved = earlier || dealer->next_owner[k] != next_owner[k];
        const uint32_t news[] = {dealer->owner[k] != owner[k] ? dealer->owner[k] : DEALER_NOBODY,
                                 moved ? next_owner[k] : DEALER_NOBODY, moved ? dealer->next_owner[k] : DEALER_NOBODY};
        for (size_t i = 0; i < ARRAY_LEN(news); i++)
            if (news[i] != DEALER_NOBODY)
                head->members.list[news[i]].told = false;
    }
}

static void tell_changed(struct head *head)
{
    uint32_t count = members_list(&head->members, head->numbers), kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!head->members.list[head->numbers[i]].told)
            head->numbers[kept++] = head->numbers[i];
    if (kept > 0)
        assign_to(head, head->numbers, kept);
}

static void deal_slots(struct head *head)
{
    struct dealer *dealer = &head->dealer;
    size_t bytes = dealer->slots * sizeof *dealer->owner;
    AUTOFREE uint32_t *before = mem_array(2 * (size_t)dealer->slots, sizeof *before);
    dealer_open(dealer, head->global_low);
    uint64_t from = dealer->from;
    if (before) {
        memcpy(before, dealer->owner, bytes);
        memcpy(before + dealer->slots, dealer->next_owner, bytes);
    }
    uint32_t count = head_balance_members(head);
    if (dealer_deal(dealer, head->global_low, head_ahead(head), head->balance.dealt, count))
        head->moved_ms = mono_ms();
    head_balance_dealt(head);
    if (!before) {
        head_assign_all(head);
        return;
    }
    mark_changed(head, before, before + dealer->slots, from);
    tell_changed(head);
}

void head_deal(struct head *head)
{
    uv_timer_stop(&head->deal_timer);
    if (!head->job.settled || head->state != HEAD_RUNNING)
        return;
    head->dealt_ms = mono_ms();
    if (head->ranks.list)
        head_ranks_deal(head);
    else
        deal_slots(head);
}

static void on_deal_timer(uv_timer_t *timer)
{
    head_deal(timer->data);
}

/* Ranks are given at once, since they say who else may join. */
void head_deal_soon(struct head *head)
{
    uint64_t passed_ms = mono_ms() - head->dealt_ms;
    if (head->ranks.list || passed_ms >= DEAL_GAP_MS)
        head_deal(head);
    else if (!uv_is_active((uv_handle_t *)&head->deal_timer))
        uv_timer_start(&head->deal_timer, on_deal_timer, DEAL_GAP_MS - passed_ms, 0);
}

/* Whether somebody waits for what the member was to compute. */
static bool is_missed(const struct head *head, uint32_t number)
{
    const struct dealer *dealer = &head->dealer;
    const struct speculation *s = &head->balance.speculation;
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (dealer->owner[k] == number || dealer->base_owner[k] == number || dealer->next_owner[k] == number ||
            (s->slot && s->slot[k].helper == number))
            return true;
    return false;
}

void head_fence(struct head *head, struct member *member, const char *reason)
{
    bool held_slots = member->state == MEMBER_JOINED;
    if (head_may_inform(head))
        log_info("worker-gone worker=\"%s\" reason=\"%s\"", member->name, reason);
    uint64_t token = member->token;
    gate_sessions_end(token, mono_ms());
    head->fences += held_slots;
    members_remove(&head->members, member);
    if (head->members.count == 0)
        head_see_end(head);
    if (!held_slots)
        return;
    head_close_session(head, token, head->port_count);
    if (head->members.guests > 0 && head->members.guests == head->members.joined)
        watch_guests(head, mono_ms());
    if (is_missed(head, session_number(token)))
        head_deal(head);
    else
        head_deal_soon(head);
}

void head_see_fences(struct head *head)
{
    uint64_t known = head->fences;
    for (uint32_t p = 0; p < head->port_count; p++)
        known = MIN(known, atomic_load_explicit(&head->ports[p].fenced, memory_order_acquire));
    if (known == head->all_fenced)
        return;
    head->all_fenced = known;
    for (uint32_t p = 0; p < head->port_count; p++)
        port_announce_fence(&head->ports[p], known);
}

/* A worker whose connection is gone cannot be sent to: found out by sending. */
dp_err head_probe(struct head *head, const struct member *member, enum letter_about about)
{
    Dp__HeartbeatAck ack = DP__HEARTBEAT_ACK__INIT;
    ack.global_low = head->global_low;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_HEARTBEAT_ACK;
    header.heartbeat_ack = &ack;
    return head_send_about(head, about, member, &header);
}

bool head_reachable(struct head *head, const struct member *member)
{
    return head_probe(head, member, ABOUT_PROBE) != DP_UNREACHABLE;
}

/* Whether it is worth knowing if the member is still connected: somebody waits for it, or it should have been heard of.
 * To ask all of hundreds of idle ones all the time would cost more than the job. */
static bool is_suspect(const struct head *head, uint32_t number, uint64_t now_ms)
{
    const struct speculation *s = &head->balance.speculation;
    uint64_t seen_ms = head->members.list[number].last_seen_ms;
    return (s->list && (s->list[number].open > 0 || s->list[number].delivery.owed_us > 0)) ||
           now_ms - MIN(now_ms, seen_ms) > (FRAME_HEARTBEAT_IDLE + 1) * head_heartbeat_ms(head);
}

/* `text` says more than `reason`. One that has no slots yet is missed by nobody. */
static void lose(struct head *head, struct member *member, const char *reason, const char *text)
{
    if (member->state == MEMBER_JOINED && !member->guest && head_may_warn(head))
        log_warn("worker-lost worker=\"%s\" reason=\"%s\" action=\"%s\"", member->name, text,
                 head->ranks.list ? "its slot is void, nobody else has its data" : "its slots go to others");
    head_fence(head, member, reason);
}

void head_lose_unconnected(struct head *head, struct member *member)
{
    lose(head, member, "its connection is gone", "its connection is gone");
}

void head_lose_stalled(struct head *head, struct member *member, uint64_t for_s)
{
    char text[192];
    snprintf(text, sizeof text,
             "it delivered nothing for %" PRIu64 " s while others waited (--stall-timeout), last heard of %" PRIu64
             " s ago",
             for_s, (mono_ms() - member->last_seen_ms) / 1000);
    head_ranks_stalled(head, member);
    lose(head, member, "it delivered nothing", text);
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
            lose(head, member, "its lease ran out", silent);
        } else if (look && !head_reachable(head, member)) {
            head_lose_unconnected(head, member);
        }
    }
}

/* Not at once: the workers of a job's last steps leave before the shards have told of those. */
static void check_alone(struct head *head, bool stands_still)
{
    bool alone = head->job.settled && head->state == HEAD_RUNNING && !head_has_enough(head);
    if (alone && !stands_still)
        return;
    if (alone && !head->alone)
        log_warn("too-few-workers step=%" PRIu64 " joined=%u waiting_for=\"%" PRIu64 " more\"", head->global_low,
                 head->members.joined, head_missing(head));
    head->alone = alone;
}

/* What was not heard because this process was frozen, or its machine slept, or the port is busy, is nobody's silence:
 * what has come meanwhile is read after this. */
static void forgive_sleep(struct head *head, uint64_t now_ms)
{
    uint64_t gap_ms = now_ms - head->ticks.last_ms, slept_ms = ticks_slept_ms(&head->ticks, now_ms);
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
    head->ranks.dealt_ms += slept_ms;
}

void head_watch(struct head *head, uint64_t now_ms)
{
    forgive_sleep(head, now_ms);
    bool stands_still = head->global_low == head->low_seen;
    head->low_seen = head->global_low;
    check_members(head, now_ms, stands_still);
    watch_guests(head, now_ms);
    tell_untold(head);
    head_hung_watch(head, now_ms);
    head_balance_watch(head, now_ms);
    head_stall_watch(head, now_ms);
    head_ranks_watch(head, now_ms);
    check_alone(head, stands_still);
}
