/* Speculation; see speculation.h. Thread: head. */
#include "speculation.h"

#include <stdlib.h>

#include "util.h"

/* How much a new measure of a slot's time counts. */
#define UNIT_WEIGHT 0.3

dp_err speculation_init(struct speculation *s, uint32_t slots, uint32_t members, const double *speed)
{
    struct speculation made = {.slots = slots, .speed = speed};
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
    return s->slot[slot].next_step > s->step;
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

void speculation_open(struct speculation *s, uint64_t step, uint32_t kind, const uint32_t *owner,
                      bool (*empty)(const void *arg, uint32_t slot), const void *arg, uint64_t now_us)
{
    s->step = step;
    s->kind = kind;
    s->opened_us = now_us;
    s->missing = 0;
    for (uint32_t m = 0; m < s->used; m++)
        s->list[m] = (struct speculation_member){0};
    s->used = 0;
    for (uint32_t k = 0; k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        forget_copy(s, slot);
        slot->holder = owner[k];
        slot->since_us = now_us;
        if (empty(arg, k))
            slot->next_step = MAX(slot->next_step, step + 1);
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

/* All that the member held has come from itself: so long takes a slot. */
static void learn(struct speculation *s, uint32_t number, uint64_t now_us)
{
    const struct speculation_member *member = &s->list[number];
    double *unit = &s->unit_us[s->kind];
    double measured = (double)(now_us - s->opened_us) / member->held * s->speed[number];
    *unit = *unit > 0 ? *unit + UNIT_WEIGHT * (measured - *unit) : measured;
}

static void slot_arrived(struct speculation *s, uint32_t k, uint32_t number)
{
    struct speculation_slot *slot = &s->slot[k];
    bool copied = slot->helper != DEALER_NOBODY;
    s->missing--;
    s->won += copied && number == slot->helper;
    s->lost += copied && number != slot->helper;
    struct speculation_member *other = member_of(s, number == slot->helper ? slot->holder : slot->helper);
    if (copied && other)
        other->beaten = true;
    owe(s, slot->holder, -1);
    owe(s, slot->helper, -1);
    slot->helper = DEALER_NOBODY;
}

void speculation_arrived(struct speculation *s, uint64_t step, uint32_t number, uint32_t first, uint32_t end,
                         uint64_t now_us)
{
    bool own = step == s->step;
    for (uint32_t k = first; k < end && k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        own &= slot->holder == number && slot->since_us == s->opened_us && slot->helper == DEALER_NOBODY;
        bool was_in = speculation_in(s, k);
        if (slot->next_step > step)
            continue;
        slot->next_step = step + 1;
        if (!was_in && speculation_in(s, k))
            slot_arrived(s, k, number);
    }
    if (own && s->list[number].open == 0 && s->list[number].held > 0)
        learn(s, number, now_us);
}

/* A member's time for one slot. */
static double slot_us(const struct speculation *s, uint32_t number)
{
    return s->unit_us[s->kind] / s->speed[number];
}

/* When a slot is due: with the last of its holder's, since a worker hands neighbouring slots in together. */
static uint64_t due_us(const struct speculation *s, const struct speculation_slot *slot)
{
    return slot->since_us + (uint64_t)(s->list[slot->holder].held * slot_us(s, slot->holder));
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
        s->expected_us[k] = now_us > due ? 2 * now_us - due : due;
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
    uint64_t first = UINT64_MAX, patience = (uint64_t)slot_us(s, number) + gain_us(s, number) + 1;
    for (uint32_t k = 0; k < s->slots; k++)
        if (s->expected_us[k] > 0)
            first = MIN(first, due_us(s, &s->slot[k]) + patience);
    return first == UINT64_MAX ? 0 : first;
}

static bool find_idle(struct speculation *s, const uint32_t *numbers, uint32_t count)
{
    bool any = false;
    for (uint32_t i = 0; i < count; i++) {
        struct speculation_member *member = &s->list[numbers[i]];
        member->idle = member->open == 0;
        member->extra = 0;
        any |= member->idle;
    }
    return any;
}

uint32_t speculation_decide(struct speculation *s, const uint32_t *numbers, uint32_t count, uint64_t now_us,
                            struct speculation_gift *gifts, uint64_t *ret_again_us)
{
    uint32_t given = 0;
    *ret_again_us = 0;
    if (s->missing == 0 || s->unit_us[s->kind] <= 0 || !find_idle(s, numbers, count))
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
        s->list[helper].open++;
        s->list[helper].extra++;
        s->expected_us[k] = 0;
    }
}
