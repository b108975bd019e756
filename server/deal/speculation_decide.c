/* The decision on copies: when slots are expected, which members are idle; see speculation.h. Thread: head. */
#include "server/deal/speculation_decide.h"

#include <assert.h>
#include <stddef.h>

#include "common/base/util.h"
#include "server/deal/speculation_impl.h"

/* Before any slot has come, one that is missing for so long is given to the idle. */
#define BLIND_US UINT64_C(2000000)

/* When a slot is due: with the last of its holder's that are to come. If they come one by one, the first of these was
 * begun when the one before had come. */
static uint64_t due_us(const struct speculation *s, const struct speculation_slot *slot)
{
    const struct speculation_member *holder = &s->list[slot->holder];
    double unit = speculation_slot_us(s, slot->holder);
    if (s->ahead == 0)
        return slot->since_us + (uint64_t)(holder->held * unit);
    return MAX(slot->since_us, holder->last_us) + (uint64_t)(holder->mine * unit);
}

/* When it is due, what is overdue after as long again or sooner. */
static uint64_t expected_us(const struct speculation *s, uint64_t due, uint64_t now_us)
{
    return now_us > due ? now_us + (uint64_t)((double)(now_us - due) / s->patience) : due;
}

/* Whether anything ever came from it. A member that has only joined is not expected to deliver: hundreds that never do
 * would have each slot one after the other. */
static bool is_proven(const struct speculation *s, uint32_t number)
{
    return s->list[number].delivery.came_us > 0;
}

/* Whether it was given to somebody whose copy counts: for a proven one only a proven one's does. */
static bool is_copied(const struct speculation *s, const struct speculation_slot *slot, bool proven)
{
    return slot->helper != DEALER_NOBODY && (!proven || is_proven(s, slot->helper));
}

/* Finds when each slot that may be given is to be expected. One that was given is expected with its copy, and is given
 * again if that is late, or slow. */
static void expect(struct speculation *s, bool proven, uint64_t now_us)
{
    for (uint32_t k = 0; k < s->slots; k++) {
        const struct speculation_slot *slot = &s->slot[k];
        bool copied = is_copied(s, slot, proven);
        s->expected_us[k] = 0;
        if (slot->holder == DEALER_NOBODY || speculation_in(s, k))
            continue;
        uint64_t holder = expected_us(s, due_us(s, slot), now_us);
        s->expected_us[k] = copied ? MIN(holder, expected_us(s, slot->copy_due_us, now_us)) : holder;
    }
}

static uint64_t ready_us(const struct speculation *s, uint32_t number, uint64_t now_us)
{
    return now_us + (uint64_t)((s->list[number].extra + 1) * speculation_slot_us(s, number));
}

/* Least gain for which it is worth computing something twice. */
static uint64_t gain_us(const struct speculation *s, uint32_t number)
{
    return MAX((uint64_t)(speculation_slot_us(s, number) / 2), (uint64_t)SPECULATION_GAIN_US);
}

static bool is_better(const struct speculation *s, uint32_t number, uint32_t than, uint64_t now_us)
{
    if (is_proven(s, number) != is_proven(s, than))
        return is_proven(s, number);
    return ready_us(s, number, now_us) < ready_us(s, than, now_us);
}

/* The idle member that would have another slot first, a proven one where there is one; DEALER_NOBODY if none is
 * idle. */
static uint32_t first_ready(const struct speculation *s, const uint32_t *numbers, uint32_t count, uint64_t now_us)
{
    uint32_t best = DEALER_NOBODY;
    for (uint32_t i = 0; i < count; i++)
        if (s->list[numbers[i]].idle && (best == DEALER_NOBODY || is_better(s, numbers[i], best, now_us)))
            best = numbers[i];
    return best;
}

static uint32_t latest_slot(const struct speculation *s)
{
    uint32_t latest = 0;
    for (uint32_t k = 1; k < s->slots; k++)
        if (s->expected_us[k] >= s->expected_us[latest])
            latest = k;
    return latest;
}

/* When a slot that has not come, or its copy, is due. */
static uint64_t next_due_us(const struct speculation *s, const struct speculation_slot *slot, bool proven)
{
    return is_copied(s, slot, proven) ? slot->copy_due_us : due_us(s, slot);
}

/* When the first of the slots that have not come will be so late that `number` takes it. */
static uint64_t again_us(const struct speculation *s, uint32_t number)
{
    uint64_t first = UINT64_MAX, sooner = (uint64_t)speculation_slot_us(s, number) + gain_us(s, number) + 1;
    uint64_t late = (uint64_t)(s->patience * (double)sooner) + 1;
    for (uint32_t k = 0; k < s->slots; k++)
        if (s->slot[k].holder != DEALER_NOBODY && !speculation_in(s, k))
            first = MIN(first, next_due_us(s, &s->slot[k], is_proven(s, number)) + late);
    return first == UINT64_MAX ? 0 : first;
}

static void owes_ahead(struct speculation *s, uint32_t number)
{
    struct speculation_member *member = speculation_member_of(s, number);
    if (member)
        member->ahead = true;
}

/* Marks holders of slots of later steps that have not arrived: one owner before the dealer's next deal, another after
 * it. */
static void find_ahead(struct speculation *s, const struct dealer *dealer)
{
    const uint64_t later = ((UINT64_C(2) << s->ahead) - 1) & ~UINT64_C(1);
    uint64_t before = dealer->from - MIN(dealer->from, s->step); /* steps */
    uint64_t base = before < 64 ? (UINT64_C(1) << before) - 1 : UINT64_MAX;
    for (uint32_t k = 0; later && k < s->slots; k++) {
        uint64_t missing = later & ~s->slot[k].arrived;
        if (missing & base)
            owes_ahead(s, dealer->base_owner[k]);
        if (missing & ~base)
            owes_ahead(s, dealer->next_owner[k]);
    }
}

static void count_mine(struct speculation *s)
{
    for (uint32_t m = 0; m < s->used; m++) {
        s->list[m].mine = s->list[m].extra = 0;
        s->list[m].ahead = false;
    }
    for (uint32_t k = 0; k < s->slots; k++) {
        struct speculation_member *holder = speculation_in(s, k) ? NULL : speculation_member_of(s, s->slot[k].holder);
        if (holder)
            holder->mine++;
    }
}

static bool find_idle(struct speculation *s, const struct dealer *dealer, const uint32_t *numbers, uint32_t count)
{
    bool any = false;
    count_mine(s);
    find_ahead(s, dealer);
    for (uint32_t i = 0; i < count; i++) {
        struct speculation_member *member = speculation_member_of(s, numbers[i]);
        const struct delivery *d = &member->delivery;
        member->idle = member->open == 0 && !member->ahead && d->owed_us == 0 && !d->hung;
        any |= member->idle;
    }
    return any;
}

/* The member whose copy is late may deliver it all the same; until something comes from it, it is given nothing. */
static void give(struct speculation *s, uint32_t k, uint32_t helper, uint64_t now_us)
{
    struct speculation_slot *slot = &s->slot[k];
    assert(!speculation_in(s, k) && helper != slot->holder && helper != DEALER_NOBODY);
    if (slot->helper != DEALER_NOBODY) {
        speculation_owe_no_more(s, slot->helper);
        speculation_forget_copy(s, slot);
    }
    s->given++;
    slot->helper = helper;
    slot->late = now_us > due_us(s, slot);
    slot->copy_due_us = ready_us(s, helper, now_us);
    speculation_owe(s, helper, now_us);
    s->list[helper].extra++;
    s->list[helper].copies++;
    s->expected_us[k] = 0;
}

/* Nothing has come yet of this question, so that nobody knows what a slot takes: each idle member gets one that has
 * been missing for long, which is missing again after as long. */
static uint32_t decide_blind(struct speculation *s, const uint32_t *numbers, uint32_t count, uint64_t now_us,
                             struct speculation_gift *gifts, uint64_t *ret_again_us)
{
    uint32_t given = 0;
    uint64_t again = UINT64_MAX;
    for (uint32_t k = 0, i = 0; k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        bool copied = slot->helper != DEALER_NOBODY;
        uint64_t late = copied ? slot->copy_due_us : slot->since_us + BLIND_US;
        if (slot->holder == DEALER_NOBODY || speculation_in(s, k))
            continue;
        while (i < count && !s->list[numbers[i]].idle)
            i++;
        if (now_us > late && i < count) {
            gifts[given++] = (struct speculation_gift){k, numbers[i]};
            give(s, k, numbers[i++], now_us);
            late = slot->copy_due_us = now_us + MAX(BLIND_US, now_us - MIN(now_us, s->opened_us));
        }
        again = MIN(again, late + 1);
    }
    *ret_again_us = again == UINT64_MAX ? 0 : MAX(again, now_us + BLIND_US / 8);
    return given;
}

/* Copies that are out: their slots have not arrived. */
static uint64_t copies_out(const struct speculation *s)
{
    uint64_t out = 0;
    for (uint32_t k = 0; k < s->slots; k++)
        out += s->slot[k].helper != DEALER_NOBODY;
    return out;
}

uint32_t speculation_decide(struct speculation *s, const struct dealer *dealer, const uint32_t *numbers, uint32_t count,
                            uint64_t now_us, struct speculation_gift *gifts, uint64_t *ret_again_us)
{
    uint32_t given = 0;
    *ret_again_us = 0;
    if (s->missing == 0 || !find_idle(s, dealer, numbers, count))
        return 0;
    assert(s->given == s->won + s->lost + copies_out(s));
    if (s->unit_us[s->asks] <= 0)
        return decide_blind(s, numbers, count, now_us, gifts, ret_again_us);
    expect(s, is_proven(s, first_ready(s, numbers, count, now_us)), now_us);
    for (;;) {
        uint32_t k = latest_slot(s), helper = first_ready(s, numbers, count, now_us);
        if (s->expected_us[k] <= ready_us(s, helper, now_us) + gain_us(s, helper)) {
            *ret_again_us = again_us(s, helper);
            return given;
        }
        gifts[given++] = (struct speculation_gift){k, helper};
        give(s, k, helper, now_us);
    }
}
