/* Steps that wait for too long: who owes what, said to the log, to dp-ctl and to the workers, and what is done about
 * it.
 *
 * While a step is open the head knows what has come to the job's first slice. When it has waited for the stall time-out
 * the shards are asked what they are owed. Thread: head. */
#include "server/assign/stall.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/assign/assign.h"
#include "server/assign/balance.h"
#include "server/assign/hung.h"
#include "server/assign/owed.h"
#include "server/assign/quorum.h"
#include "server/assign/ranks.h"
#include "server/talk/journal.h"
#include "server/talk/leave.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum {
    SLOTS_TEXT = 96,
    GIVE_UP_TIMES = 4, /* a worker with data of its own may take four times its longest step before */
};

/* "4-7,9", cut where there are too many. */
static void slots_text(const uint32_t *slots, uint32_t count, char text[SLOTS_TEXT])
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = slots[i], last = first;
        while (i + 1 < count && slots[i + 1] == last + 1)
            last = slots[++i];
        bool fits = str_append(text, SLOTS_TEXT, &at, "%s%u", at ? "," : "", first);
        if (!fits || (last > first && !str_append(text, SLOTS_TEXT, &at, "-%u", last)))
            return;
    }
}

static uint64_t seconds_since(uint64_t then_ms)
{
    uint64_t now = mono_ms();
    return (now - MIN(now, then_ms)) / 1000;
}

static const char *owner_name(const struct head *head, uint32_t owner)
{
    return owner == DEALER_NOBODY ? "nobody" : head->members.list[owner].name;
}

/* ---- reports ---- */

/* To all workers: those that wait see whom they wait for. */
static void tell_workers(struct head *head, const char *text)
{
    char clean[FRAME_TEXT_MAX + 1];
    Dp__Stall body = DP__STALL__INIT;
    text_clean(clean, sizeof clean, text);
    body.step = head->global_low;
    body.for_ms = mono_ms() - head->stall->opened_ms;
    body.text = clean;
    for (uint32_t i = 0; i < head->members.used; i++) {
        const struct member *member = &head->members.list[i];
        Dp__Header header = DP__HEADER__INIT;
        header.session = member->token;
        header.body_case = DP__HEADER__BODY_STALL;
        header.stall = &body;
        if (member->state == MEMBER_JOINED && head_send(head, &member->route, &header, NULL))
            log_debug("stall-report-lost worker=\"%s\"", member->name);
    }
}

/* One owner's part of what is owed. */
static void report(struct head *head, uint32_t owner, const uint32_t *slots, uint32_t count, const char *action,
                   dp_error *ret_text)
{
    char list[SLOTS_TEXT];
    uint64_t for_s = seconds_since(head->stall->opened_ms);
    uint64_t heard_s = owner == DEALER_NOBODY ? 0 : seconds_since(head->members.list[owner].last_seen_ms);
    slots_text(slots, count, list);
    (void)dp_fail(ret_text, DP_TIMEOUT,
                  "step %" PRIu64 " has been waiting for %" PRIu64 " s for slot%s %s of %s, last heard of %" PRIu64
                  " s ago",
                  head->global_low, for_s, count > 1 ? "s" : "", list, owner_name(head, owner), heard_s);
    if (head_may_warn(head))
        log_warn("stall step=%" PRIu64 " slots=%s owed_by=\"%s\" for_s=%" PRIu64 " last_heard_s=%" PRIu64
                 " shards=\"%u of %u\" action=\"%s\"",
                 head->global_low, list, owner_name(head, owner), for_s, heard_s, head->owed->shards,
                 head->owed->holding, action);
    head_journal(head, "stalled",
                 json_pack("{s:I, s:s}", "step", (json_int_t)head->global_low, "text", ret_text->text));
    tell_workers(head, ret_text->text);
}

/* Whether the worker has had its time, by what others took and by what it took itself before. If all owe, the step is
 * long for all. */
static bool is_given_up(const struct head *head, uint32_t owner)
{
    const struct speculation *s = &head->balance->speculation;
    uint64_t open_ms = mono_ms() - head->stall->opened_ms, owing = 0;
    if (!head->ranks->list || owner == DEALER_NOBODY || head->opts->on_stall != ON_STALL_WAIT)
        return false;
    for (uint32_t k = 0; k < head->dealer.slots; k++)
        owing += head->owed->slots[k] && head->ranks->list[k].holder != DEALER_NOBODY;
    return owing < head->members.joined && open_ms >= GIVE_UP_TIMES * s->list[owner].delivery.longest_us / 1000;
}

static const char *action_of(const struct head *head, uint32_t owner, bool dropped)
{
    if (dropped)
        return "dropped from the step";
    if (head->opts->on_stall == ON_STALL_FAIL)
        return "the job fails";
    if (is_given_up(head, owner))
        return "given up: the others go on without its data";
    if (head->ranks->list)
        return "waiting: nobody else has its data";
    return head->members.joined > 1 ? "given to another worker too" : "asked for again: there is no other worker";
}

/* All owners, one after the other; `owed` ends empty. The text of the first one is returned. */
static void report_all(struct head *head, uint32_t *owed, uint32_t count, bool dropped, dp_error *ret_text)
{
    AUTOFREE uint32_t *mine = mem_array(count, sizeof *mine);
    dp_error others;
    for (dp_error *text = ret_text; mine && count > 0; text = &others) {
        uint32_t owner = head->dealer.owner[owed[0]], found = 0, rest = 0;
        for (uint32_t i = 0; i < count; i++)
            if (head->dealer.owner[owed[i]] == owner)
                mine[found++] = owed[i];
            else
                owed[rest++] = owed[i];
        report(head, owner, mine, found, action_of(head, owner, dropped), text);
        count = rest;
    }
}

/* ---- slots that others get too ---- */

/* The member after the owner, of those that deliver if there are any. */
static void pass_on(struct head *head, uint32_t slot, const uint32_t *numbers, uint32_t members)
{
    uint32_t at = 0;
    for (uint32_t m = 0; m < members; m++)
        if (numbers[m] == head->dealer.owner[slot])
            at = m;
    uint32_t next = (at + 1) % members;
    for (uint32_t i = 1; i < members && speculation_hung(&head->balance->speculation, numbers[next]); i++)
        next = (next + 1) % members;
    dealer_reassign(&head->dealer, head->global_low, slot, numbers[next]);
}

/* A worker that owes slots of the step is dealt none as long as others deliver; its slots go to these. */
static void pass_all_on(struct head *head, const uint32_t *owed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (head->dealer.owner[owed[i]] != DEALER_NOBODY)
            speculation_stalled(&head->balance->speculation, head->dealer.owner[owed[i]], mono_ns() / 1000);
    uint32_t members = members_list(&head->members, head->numbers);
    for (uint32_t i = 0; i < count && members > 0; i++)
        pass_on(head, owed[i], head->numbers, members);
    head_balance_dealt(head);
    head_assign_all(head);
    head_hung_deal(head);
}

/* ---- workers with data of their own ---- */

static void lose_stalled(struct head *head, struct member *member, uint64_t for_s)
{
    char text[192];
    snprintf(text, sizeof text,
             "it delivered nothing for %" PRIu64 " s while others waited (--stall-timeout), last heard of %" PRIu64
             " s ago",
             for_s, (mono_ms() - member->last_seen_ms) / 1000);
    head_ranks_stalled(head, member);
    head_lose(head, member, "it delivered nothing", text);
}

/* Its slot is void from the open step on; should it live, it joins again. */
static void give_up(struct head *head, const uint32_t *owed, uint32_t count)
{
    for (uint32_t i = 0; i < count && head->state == HEAD_RUNNING; i++) {
        uint32_t owner = head->dealer.owner[owed[i]];
        if (is_given_up(head, owner))
            lose_stalled(head, &head->members.list[owner], seconds_since(head->stall->opened_ms));
    }
}

/* --on-stall fail. */
static void fail_stalled(struct head *head, const dp_error *stall)
{
    dp_error err;
    (void)dp_fail(&err, DP_STALLED, "the job failed, as --on-stall fail has it: %.500s", stall->text);
    head_fail(head, &err);
}

void head_stall_owed(struct head *head, const uint32_t *owed, uint32_t count, bool dropped)
{
    uint32_t members = members_list(&head->members, head->numbers);
    dp_error text = {.code = DP_OK};
    if (count == 0 || members == 0 || !head_has_enough(head))
        return;
    AUTOFREE uint32_t *rest = mem_array(count, sizeof *rest);
    if (!rest)
        return; /* asked again after another time-out */
    for (uint32_t i = 0; i < count; i++)
        rest[i] = owed[i];
    dealer_open(&head->dealer, head->global_low);
    head->stall->reported = true;
    report_all(head, rest, count, dropped, &text);
    if (head->opts->on_stall == ON_STALL_FAIL) {
        fail_stalled(head, &text);
        return;
    }
    if (head->ranks->list)
        give_up(head, owed, count);
    else if (!dropped)
        pass_all_on(head, owed, count);
}

/* Once for all shards: a slot that two of them are owed is its owner's in both reports, and passed on once. */
static void on_owed(struct head *head)
{
    AUTOFREE uint32_t *owed = mem_array(head->dealer.slots, sizeof *owed);
    head->moved_ms = mono_ms();
    if (owed && head->owed->step == head->global_low && head->state == HEAD_RUNNING)
        head_stall_owed(head, owed, head_owed_list(head, owed), false);
}

void head_stall_ask(struct head *head)
{
    head_owed_ask(head, head->global_low, on_owed);
}

void head_stall_step(struct head *head, const struct news *news)
{
    (void)news;
    if (head->stall->reported && head->state == HEAD_RUNNING) /* a job that failed has no more to tell */
        log_warn("stall-over step=%" PRIu64 " after_s=%" PRIu64, head->global_low - 1,
                 seconds_since(head->stall->opened_ms));
    head->stall->reported = head->stall->put_off = false;
    head->stall->opened_ms = mono_ms();
}

void head_stall_stop(struct head *head)
{
    *head->stall = (struct stall){0};
}

/* ---- the status ---- */

enum { OWED_TOLD = 256 }; /* workers, the first ones where there are more */

static json_t *owed_json(const struct head *head, uint32_t number)
{
    json_t *slots = json_array();
    for (uint32_t k = 0; k < head->dealer.slots; k++)
        if (head->dealer.owner[k] == number && !speculation_in(&head->balance->speculation, k))
            json_array_append_new(slots, json_integer(k));
    if (json_array_size(slots) == 0) {
        json_decref(slots);
        return NULL;
    }
    const struct member *member = &head->members.list[number];
    return json_pack("{sI ss sI so}", "worker", (json_int_t)number, "name", member->name, "last_heard_ms",
                     (json_int_t)(mono_ms() - member->last_seen_ms), "slots", slots);
}

json_t *head_waits_json(const struct head *head)
{
    if (!head->job.settled || head->state != HEAD_RUNNING)
        return json_null();
    json_t *owed = json_array();
    for (uint32_t i = 0; i < head->members.used && json_array_size(owed) < OWED_TOLD; i++) {
        json_t *entry = head->members.list[i].state == MEMBER_JOINED ? owed_json(head, i) : NULL;
        if (entry)
            json_array_append_new(owed, entry);
    }
    return json_pack("{sI sI sb so}", "step", (json_int_t)head->global_low, "for_ms",
                     (json_int_t)(mono_ms() - head->stall->opened_ms), "stalled", head->stall->reported, "owed", owed);
}
