/* Workers whose heartbeats go on and that deliver nothing (server/deal/delivery.h): their slots go to others, and they
 * are probed until something comes.
 *
 * A probe is a slot of a step to come that another worker holds as well: nobody waits for it, and its bits are the
 * other's. It is also how a worker shows a new speed that was too slow to be dealt slots. Thread: head. */
#include "server/assign/hung.h"

#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/util.h"
#include "server/assign/assign.h"
#include "server/assign/balance.h"
#include "server/assign/deal.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum {
    PROBE_MS = 1000,       /* between probes of a hung worker, doubled each time while nothing comes */
    PROBE_MAX_MS = 30000,  /* at most */
    PROBE_IDLE_MS = 10000, /* between those of a worker that is too slow for a slot of its own */
    PROBE_SOON_US = 20000, /* a probe is for a step that is not open for so long: it must have been read by then */
    PROBE_STEPS = 1000,    /* nor for one so far ahead */
    WARN_MS = 5000,        /* a worker that delivers nothing for so long is warned of */
};

static struct delivery *delivery_of(struct head *head, uint32_t number)
{
    return &head->balance->speculation.list[number].delivery;
}

void head_hung_deal(struct head *head)
{
    struct balance *balance = head->balance;
    if (balance->changes == balance->speculation.changes)
        return;
    balance->changes = balance->speculation.changes;
    if (!head->job.core.local)
        head_deal(head);
}

void head_hung_step(struct head *head, const struct news *news)
{
    (void)news;
    head_hung_deal(head);
}

/* The first slot from `from` on that has samples at the step and that another worker computes; DEALER_NOBODY: none. */
static uint32_t slot_to_probe(const struct head *head, uint64_t step, uint32_t from, uint32_t number)
{
    const struct plan *plan = &head->job.core.plan;
    const struct plan_step at = plan_at(plan, step);
    for (uint32_t i = 0; i < plan->slots; i++) {
        uint32_t slot = (from + i) % plan->slots, owner = dealer_owner(&head->dealer, step, slot);
        if (!plan_slot_empty(plan, &at, slot) && owner != DEALER_NOBODY && owner != number)
            return slot;
    }
    return DEALER_NOBODY;
}

static void probe(struct head *head, uint32_t number)
{
    struct member *member = &head->members.list[number];
    const double step_us = head->balance->step_us;
    uint64_t soon = step_us > 0 ? MIN((uint64_t)(PROBE_SOON_US / step_us), (uint64_t)PROBE_STEPS) : 0;
    uint64_t step = head->global_low + 2 + head_ahead(head) + soon;
    if (step >= plan_total(&head->job.core.plan))
        return;
    uint32_t slot = slot_to_probe(head, step, member->probes++ * 7, number);
    if (slot == DEALER_NOBODY)
        return;
    log_debug("probe worker=\"%s\" step=%" PRIu64 " slot=%u", member->name, step, slot);
    if (head_assign_probe(head, number, step, slot) == DP_OK)
        delivery_probed(delivery_of(head, number), step, slot, mono_ns() / 1000);
}

static uint64_t since_ms(uint64_t then_ms, uint64_t now_ms)
{
    return now_ms - MIN(now_ms, then_ms);
}

/* A worker that was slow once must not be left without slots for ever, nor one that hung. */
static bool probe_is_due(const struct head *head, uint32_t number, bool hung, uint64_t now_ms)
{
    const struct member *member = &head->members.list[number];
    uint64_t wait_ms = PROBE_IDLE_MS;
    if (hung)
        wait_ms = MIN((uint64_t)PROBE_MS << MIN(member->probes, 5U), (uint64_t)PROBE_MAX_MS);
    else if (dealer_holds(&head->dealer, number) || since_ms(member->measured_ms, now_ms) < PROBE_IDLE_MS ||
             since_ms(member->joined_ms, now_ms) < PROBE_IDLE_MS)
        return false;
    return !member->untold && since_ms(member->probed_ms, now_ms) >= wait_ms;
}

static void warn(struct head *head, const struct member *member, uint64_t silent_ms, uint64_t now_ms)
{
    if (head_may_warn(head))
        log_warn("worker-hung worker=\"%s\" silent_s=%" PRIu64
                 " reason=\"%s\" action=\"its slots go to others; it is given a copy of one now and then, and gets "
                 "slots again when it delivers\"",
                 member->name, silent_ms / 1000, member_why_late(member, now_ms));
}

/* Said once, warned of where it lasts, and said when it is over. */
static void tell(struct head *head, struct member *member, const struct delivery *d, uint64_t now_ms)
{
    uint64_t now_us = mono_ns() / 1000;
    uint64_t silent_ms = d->silent_us ? (now_us - MIN(now_us, d->silent_us)) / 1000 : 0;
    if (d->hung && !member->hung_said)
        log_info("worker-late worker=\"%s\" silent_ms=%" PRIu64 " action=\"its slots go to others\"", member->name,
                 silent_ms);
    member->hung_said |= d->hung;
    if (d->hung && !member->hung_warned && silent_ms >= WARN_MS) {
        member->hung_warned = true;
        warn(head, member, silent_ms, now_ms);
    }
    if (!d->hung && member->hung_said) {
        log_info("worker-delivers-again worker=\"%s\"", member->name);
        member->hung_said = member->hung_warned = false;
    }
}

void head_hung_watch(struct head *head, const struct news *news)
{
    const uint64_t now_ms = news->now_ms;
    if (head->job.core.local || !head->job.settled || head->state != HEAD_RUNNING)
        return;
    head_hung_deal(head);
    head_speculate(head); /* a new member is idle, and nothing may come that says so */
    for (uint32_t i = 0; i < head->members.used; i++) {
        struct member *member = &head->members.list[i];
        const struct delivery *d = delivery_of(head, i);
        if (member->state != MEMBER_JOINED)
            continue;
        tell(head, member, d, now_ms);
        if (!d->hung && dealer_holds(&head->dealer, i))
            member->probes = 0;
        if (!probe_is_due(head, i, d->hung, now_ms))
            continue;
        member->probed_ms = now_ms;
        probe(head, i);
    }
}

bool head_hung_all(const struct head *head)
{
    for (uint32_t i = 0; i < head->members.used; i++)
        if (head->members.list[i].state == MEMBER_GREETED ||
            (head->members.list[i].state == MEMBER_JOINED && !speculation_hung(&head->balance->speculation, i)))
            return false;
    return true;
}

void head_hung_heard(struct member *member)
{
    member->probes = MIN(member->probes, 1U);
}
