/* Speculation; see speculation.h. Thread: head. */
#include "speculation.h"

#include <stdlib.h>

#include "util.h"

/* How much a new measure of a slot's time counts: of all that a member holds, together. */
#define UNIT_WEIGHT 0.3
/* What it does to the patience that the copy of an overdue slot came first, or did not. */
#define PATIENCE_WON 0.9
#define PATIENCE_LOST 1.5
#define PATIENCE_MAX 4.0
/* A gap that is longer than so many slots is as good as one of so many: it was no slot's. */
#define GAP_MAX 4.0

dp_err speculation_init(struct speculation *s, uint32_t slots, uint32_t members, const double *speed)
{
    struct speculation made = {.slots = slots, .speed = speed, .patience = 1};
    made.slot = mem_array_zero(slots, sizeof *made.slot);
    made.list = mem_array_zero(members, sizeof *made.list);
    made.expected_us = mem_array(slots, sizeof *made.expected_us);
    if (!made.slot || !made.list || !made.expected_us) {
        speculation_fini(&made);
        return DP_NOMEM;
    }
    for (uint32_t k = 0; k < slots; k++)
        made.slot[k].holder = made.slot[k].helper = DEALER_NOBODY;
    *s = made;
    return DP_OK;
}

void speculation_fini(struct speculation *s)
{
    free(s->slot);
    free(s->list);
    free(s->expected_us);
    *s = (struct speculation){0};
}

bool speculation_in(const struct speculation *s, uint32_t slot)
{
    return s->slot[slot].arrived & 1;
}

static struct speculation_member *member_of(struct speculation *s, uint32_t number)
{
    if (number == DEALER_NOBODY)
        return NULL;
    s->used = MAX(s->used, number + 1);
    return &s->list[number];
}

/* A member has one slot more, or one fewer, to deliver. */
static void owe(struct speculation *s, uint32_t number, int change)
{
    struct speculation_member *member = member_of(s, number);
    if (member)
        member->open += (uint32_t)change;
}

static void hold(struct speculation *s, uint32_t number, int change)
{
    struct speculation_member *member = member_of(s, number);
    if (member)
        member->held += (uint32_t)change;
}

/* A copy that is out was not needed, or its helper is gone. */
static void forget_copy(struct speculation *s, struct speculation_slot *slot)
{
    s->lost += slot->helper != DEALER_NOBODY;
    slot->helper = DEALER_NOBODY;
}

/* What is known of members from step to step is when they delivered, as long as they may go on from step to step. */
static void members_begin(struct speculation *s)
{
    for (uint32_t m = 0; m < s->used; m++) {
        uint64_t last_us = s->ahead > 0 ? s->list[m].last_us : 0;
        s->list[m] = (struct speculation_member){.last_us = last_us, .waits = s->list[m].waits};
    }
}

void speculation_open(struct speculation *s, uint64_t step, uint32_t ahead, uint32_t kind, const uint32_t *owner,
                      bool (*empty)(const void *arg, uint32_t slot), const void *arg, uint64_t now_us)
{
    uint64_t passed = step - s->step;
    s->step = step;
    s->ahead = ahead;
    s->kind = kind;
    s->opened_us = now_us;
    s->missing = 0;
    members_begin(s);
    for (uint32_t k = 0; k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        forget_copy(s, slot);
        slot->holder = owner[k];
        slot->since_us = now_us;
        slot->arrived = passed < 64 ? slot->arrived >> passed : 0;
        if (empty(arg, k))
            slot->arrived |= 1;
        else
            hold(s, owner[k], 1);
        if (speculation_in(s, k))
            continue;
        s->missing++;
        owe(s, owner[k], 1);
    }
}

void speculation_owners(struct speculation *s, const uint32_t *owner, bool (*lives)(const void *arg, uint32_t member),
                        const void *arg, uint64_t now_us)
{
    for (uint32_t m = 0; m < s->used; m++)
        if (!lives(arg, m))
            s->list[m].last_us = 0;
    for (uint32_t k = 0; k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        if (speculation_in(s, k))
            continue;
        if (slot->helper != DEALER_NOBODY && (!lives(arg, slot->helper) || slot->helper == owner[k])) {
            owe(s, slot->helper, -1);
            forget_copy(s, slot);
        }
        if (slot->holder == owner[k])
            continue;
        owe(s, slot->holder, -1);
        hold(s, slot->holder, -1);
        slot->holder = owner[k];
        slot->since_us = now_us;
        owe(s, slot->holder, 1);
        hold(s, slot->holder, 1);
    }
}

/* A member's time for one slot; 0: not known. */
static double slot_us(const struct speculation *s, uint32_t number)
{
    return s->unit_us[s->kind] / s->speed[number];
}

static void learn(struct speculation *s, uint32_t number, double took_us, double weight)
{
    double *unit = &s->unit_us[s->kind], measured = took_us * s->speed[number];
    *unit = *unit > 0 ? *unit + weight * (measured - *unit) : measured;
}

/* Slots came one by one: so long after the one before, unless the member has waited in between. Several slots that are
 * computed side by side come together, the others after no time at all: it is their mean that counts. */
static void learn_gap(struct speculation *s, uint64_t step, uint32_t number, uint64_t now_us)
{
    struct speculation_member *member = member_of(s, number);
    double took_us = (double)(now_us - MIN(now_us, member->last_us)), unit_us = slot_us(s, number);
    if (member->last_us > 0 && !member->waits)
        learn(s, number, unit_us > 0 ? MIN(took_us, GAP_MAX * unit_us) : took_us, UNIT_WEIGHT / MAX(member->held, 1U));
    member->last_us = MAX(now_us, member->last_us);
    member->waits = step >= s->step + s->ahead;
}

static void learn_patience(struct speculation *s, bool won)
{
    double patience = s->patience * (won ? PATIENCE_WON : PATIENCE_LOST);
    s->patience = MIN(MAX(patience, 1.0), PATIENCE_MAX);
}

static void slot_arrived(struct speculation *s, uint32_t k, uint32_t number)
{
    struct speculation_slot *slot = &s->slot[k];
    bool copied = slot->helper != DEALER_NOBODY;
    s->missing--;
    s->won += copied && number == slot->helper;
    s->lost += copied && number != slot->helper;
    if (copied && slot->late)
        learn_patience(s, number == slot->helper);
    struct speculation_member *other = member_of(s, number == slot->helper ? slot->holder : slot->helper);
    if (copied && other)
        other->beaten = true;
    owe(s, slot->holder, -1);
    owe(s, slot->helper, -1);
    slot->helper = DEALER_NOBODY;
}

/* All that the member held of the open step has come from itself: so long takes a slot. What came before we knew that
 * the step is open says nothing. */
static void learn_share(struct speculation *s, uint32_t number, uint64_t now_us)
{
    const struct speculation_member *member = &s->list[number];
    if (member->open == 0 && member->held > 0 && now_us > s->opened_us)
        learn(s, number, (double)(now_us - s->opened_us) / member->held, UNIT_WEIGHT);
}

void speculation_arrived(struct speculation *s, uint64_t step, uint32_t number, uint32_t first, uint32_t end,
                         uint64_t now_us)
{
    bool own = step == s->step;
    if (step < s->step || step - s->step >= 64)
        return;
    for (uint32_t k = first; k < end && k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        own &= slot->holder == number && slot->since_us == s->opened_us && slot->helper == DEALER_NOBODY;
        bool was_in = speculation_in(s, k);
        slot->arrived |= UINT64_C(1) << (step - s->step);
        if (!was_in && speculation_in(s, k))
            slot_arrived(s, k, number);
    }
    if (s->ahead > 0)
        learn_gap(s, step, number, now_us);
    else if (own)
        learn_share(s, number, now_us);
}

/* When a slot is due: with the last of its holder's that are to come. Where they come one by one, the first of these
 * was begun when the one before had come. */
static uint64_t due_us(const struct speculation *s, const struct speculation_slot *slot)
{
    const struct speculation_member *holder = &s->list[slot->holder];
    double unit = slot_us(s, slot->holder);
    if (s->ahead == 0)
        return slot->since_us + (uint64_t)(holder->held * unit);
    return MAX(slot->since_us, holder->last_us) + (uint64_t)(holder->mine * unit);
}

/* Finds when each slot that may be given is to be expected. */
static void expect(struct speculation *s, uint64_t now_us)
{
    for (uint32_t k = 0; k < s->slots; k++) {
        const struct speculation_slot *slot = &s->slot[k];
        s->expected_us[k] = 0;
        if (slot->holder == DEALER_NOBODY || speculation_in(s, k) || slot->helper != DEALER_NOBODY)
            continue;
        uint64_t due = due_us(s, slot);
        s->expected_us[k] = now_us > due ? now_us + (uint64_t)((double)(now_us - due) / s->patience) : due;
    }
}

static uint64_t ready_us(const struct speculation *s, uint32_t number, uint64_t now_us)
{
    return now_us + (uint64_t)((s->list[number].extra + 1) * slot_us(s, number));
}

/* Least gain for which it is worth computing something twice. */
static uint64_t gain_us(const struct speculation *s, uint32_t number)
{
    return MAX((uint64_t)(slot_us(s, number) / 2), (uint64_t)SPECULATION_GAIN_US);
}

/* The idle member that would have another slot first; DEALER_NOBODY if none is idle. */
static uint32_t first_ready(const struct speculation *s, const uint32_t *numbers, uint32_t count, uint64_t now_us)
{
    uint32_t best = DEALER_NOBODY;
    for (uint32_t i = 0; i < count; i++)
        if (s->list[numbers[i]].idle &&
            (best == DEALER_NOBODY || ready_us(s, numbers[i], now_us) < ready_us(s, best, now_us)))
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

/* When the first of the slots that were not given will be so late that `number` takes it. */
static uint64_t again_us(const struct speculation *s, uint32_t number)
{
    uint64_t first = UINT64_MAX, sooner = (uint64_t)slot_us(s, number) + gain_us(s, number) + 1;
    uint64_t late = (uint64_t)(s->patience * (double)sooner) + 1;
    for (uint32_t k = 0; k < s->slots; k++)
        if (s->expected_us[k] > 0)
            first = MIN(first, due_us(s, &s->slot[k]) + late);
    return first == UINT64_MAX ? 0 : first;
}

static void owes_ahead(struct speculation *s, uint32_t number)
{
    struct speculation_member *member = member_of(s, number);
    if (member)
        member->ahead = true;
}

/* Who holds slots of later steps that have not arrived: one owner before the dealer's next deal, another after it. */
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
        struct speculation_member *holder = speculation_in(s, k) ? NULL : member_of(s, s->slot[k].holder);
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
        struct speculation_member *member = member_of(s, numbers[i]);
        member->idle = member->open == 0 && !member->ahead;
        any |= member->idle;
    }
    return any;
}

uint32_t speculation_decide(struct speculation *s, const struct dealer *dealer, const uint32_t *numbers, uint32_t count,
                            uint64_t now_us, struct speculation_gift *gifts, uint64_t *ret_again_us)
{
    uint32_t given = 0;
    *ret_again_us = 0;
    if (s->missing == 0 || s->unit_us[s->kind] <= 0 || !find_idle(s, dealer, numbers, count))
        return 0;
    expect(s, now_us);
    for (;;) {
        uint32_t k = latest_slot(s), helper = first_ready(s, numbers, count, now_us);
        if (s->expected_us[k] <= ready_us(s, helper, now_us) + gain_us(s, helper)) {
            *ret_again_us = again_us(s, helper);
            return given;
        }
        gifts[given++] = (struct speculation_gift){k, helper};
        s->given++;
        s->slot[k].helper = helper;
        s->slot[k].late = now_us > due_us(s, &s->slot[k]);
        s->list[helper].open++;
        s->list[helper].extra++;
        s->expected_us[k] = 0;
    }
}
