/* Speculation; see speculation.h. Thread: head. */
#include "server/deal/speculation_impl.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/util.h"

/* Weight of a new measure of a slot's time: of all slots that a member holds, together. */
#define UNIT_WEIGHT 0.3
/* Factors of the patience after the copy of an overdue slot came first, or did not. */
#define PATIENCE_WON 0.9
#define PATIENCE_LOST 1.5
#define PATIENCE_MAX 4.0
/* Cap gaps at GAP_MAX slot times; anything longer was idle time, not work. */
#define GAP_MAX 4.0
/* A member that takes longer than it says by this factor more than others do is not believed. */
#define BOAST 1.5

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

struct speculation_member *speculation_member_of(struct speculation *s, uint32_t number)
{
    if (number == DEALER_NOBODY)
        return NULL;
    s->used = MAX(s->used, number + 1);
    return &s->list[number];
}

/* A member has one slot more to deliver. */
void speculation_owe(struct speculation *s, uint32_t number, uint64_t now_us)
{
    struct speculation_member *member = speculation_member_of(s, number);
    if (!member)
        return;
    member->open++;
    delivery_owe(&member->delivery, now_us);
}

/* It has come from somebody, or is somebody else's now. Whether it still computes it is not known, so that it is not
 * idle. */
void speculation_owe_no_more(struct speculation *s, uint32_t number)
{
    struct speculation_member *member = speculation_member_of(s, number);
    assert(!member || member->open > 0);
    if (member)
        member->open--;
}

static void hold(struct speculation *s, uint32_t number, int change)
{
    struct speculation_member *member = speculation_member_of(s, number);
    if (member)
        member->held += (uint32_t)change;
}

/* A copy that is out was not needed, or its helper is gone. */
void speculation_forget_copy(struct speculation *s, struct speculation_slot *slot)
{
    s->lost += slot->helper != DEALER_NOBODY;
    slot->helper = DEALER_NOBODY;
}

/* A member's time for one slot; 0: not known. */
double speculation_slot_us(const struct speculation *s, uint32_t number)
{
    return s->unit_us[s->asks] / s->speed[number];
}

/* So long a member may take for some slots until it is far too late: twice as long as expected. */
static double allowed_us(const struct speculation *s, uint32_t number, uint32_t slots)
{
    return 2 * (slots * speculation_slot_us(s, number) + SPECULATION_GAIN_US);
}

/* Takes in what the open step has shown of a member's speed, whatever it says itself. A member whose slots all came
 * from others is late, however little was expected of it. */
static void show_speed(struct speculation *s, uint32_t number, uint64_t now_us)
{
    struct speculation_member *member = &s->list[number];
    bool all = member->brought == member->held;
    uint64_t end_us = all ? member->brought_us : now_us;
    double took_us = (double)(end_us - MIN(end_us, s->opened_us));
    bool late = member->brought == 0 || took_us > allowed_us(s, number, member->held);
    if (s->ahead > 0 || member->held == 0)
        return;
    delivery_late(&member->delivery, late, took_us / (all ? member->held : member->brought + 1), now_us);
    if (all && question_of(s->asks)->timed && took_us > 0)
        delivery_shown(&member->delivery, took_us / member->held);
}

/* The open step is complete: who has delivered nothing of it, though it should have? */
static void members_end(struct speculation *s, uint64_t now_us)
{
    for (uint32_t m = 0; m < s->used && s->opened_us > 0 && s->unit_us[s->asks] > 0; m++) {
        struct speculation_member *member = &s->list[m];
        uint64_t allowed = (uint64_t)allowed_us(s, m, member->held + member->copies);
        s->changes += delivery_step_ended(&member->delivery, allowed, now_us);
        show_speed(s, m, now_us);
    }
}

/* A new step forgets all of members but their time of delivery, which stays if they may go on from step to step. */
static void members_begin(struct speculation *s, uint64_t now_us)
{
    for (uint32_t m = 0; m < s->used; m++) {
        struct speculation_member *member = &s->list[m];
        uint64_t last_us = s->ahead > 0 ? member->last_us : 0;
        *member = (struct speculation_member){.last_us = last_us, .waits = member->waits, .delivery = member->delivery};
        delivery_opened(&member->delivery, s->step, now_us);
    }
}

void speculation_open(struct speculation *s, uint64_t step, uint32_t ahead, enum question_number asks,
                      const uint32_t *owner, bool (*empty)(const void *arg, uint32_t slot), const void *arg,
                      uint64_t now_us)
{
    uint64_t passed = step - s->step;
    if (passed > 0)
        members_end(s, now_us);
    s->step = step;
    s->ahead = ahead;
    s->asks = asks;
    s->opened_us = now_us;
    s->missing = 0;
    members_begin(s, now_us);
    for (uint32_t k = 0; k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        speculation_forget_copy(s, slot);
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
        speculation_owe(s, owner[k], now_us);
    }
}

static bool all_nobodys(const struct speculation *s)
{
    for (uint32_t k = 0; k < s->slots; k++)
        if (s->slot[k].holder != DEALER_NOBODY)
            return false;
    return true;
}

void speculation_owners(struct speculation *s, const uint32_t *owner, bool (*lives)(const void *arg, uint32_t member),
                        const void *arg, uint64_t now_us)
{
    if (all_nobodys(s))
        s->opened_us = now_us; /* nobody could begin it before */
    for (uint32_t m = 0; m < s->used; m++)
        if (!lives(arg, m)) {
            s->list[m].last_us = 0;
            s->list[m].delivery = (struct delivery){0};
        }
    for (uint32_t k = 0; k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        if (speculation_in(s, k))
            continue;
        if (slot->helper != DEALER_NOBODY && (!lives(arg, slot->helper) || slot->helper == owner[k])) {
            speculation_owe_no_more(s, slot->helper);
            speculation_forget_copy(s, slot);
        }
        if (slot->holder == owner[k])
            continue;
        speculation_owe_no_more(s, slot->holder);
        hold(s, slot->holder, -1);
        slot->holder = owner[k];
        slot->since_us = now_us;
        speculation_owe(s, slot->holder, now_us);
        hold(s, slot->holder, 1);
    }
}

static void learn(struct speculation *s, uint32_t number, double took_us, double weight)
{
    double *unit = &s->unit_us[s->asks], measured = took_us * s->speed[number];
    *unit = *unit > 0 ? *unit + weight * (measured - *unit) : measured;
}

/* Slots came one by one: so long after the one before, unless the member has waited in between. Several slots that are
 * computed side by side come together, the others after no time at all: it is their mean that counts. */
static void learn_gap(struct speculation *s, uint64_t step, uint32_t number, uint64_t now_us)
{
    struct speculation_member *member = speculation_member_of(s, number);
    double took_us = (double)(now_us - MIN(now_us, member->last_us)), unit_us = speculation_slot_us(s, number);
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
    struct speculation_member *other = speculation_member_of(s, number == slot->helper ? slot->holder : slot->helper);
    if (copied && other)
        other->beaten = true;
    struct speculation_member *holder = number == slot->holder ? speculation_member_of(s, number) : NULL;
    if (holder)
        holder->brought++;
    speculation_owe_no_more(s, slot->holder);
    speculation_owe_no_more(s, slot->helper);
    slot->helper = DEALER_NOBODY;
}

/* All that the member held of the open step has come from itself: so long takes a slot. Slots that came before we knew
 * that the step is open say nothing. */
static void learn_share(struct speculation *s, uint32_t number, uint64_t now_us)
{
    const struct speculation_member *member = &s->list[number];
    if (member->open == 0 && member->held > 0 && now_us > s->opened_us)
        learn(s, number, (double)(now_us - s->opened_us) / member->held, UNIT_WEIGHT);
}

/* Something came from a member, if only too late. */
static void came(struct speculation *s, uint64_t step, uint32_t number, uint32_t first, uint32_t end, uint64_t now_us)
{
    struct speculation_member *member = speculation_member_of(s, number);
    if (step == s->step && s->opened_us > 0)
        delivery_took(&member->delivery, now_us - MIN(now_us, s->opened_us));
    delivery_answered(&member->delivery, step, first, end, now_us);
    s->changes += delivery_came(&member->delivery, member->open > 0, now_us);
}

void speculation_arrived(struct speculation *s, uint64_t step, uint32_t number, uint32_t first, uint32_t end,
                         uint64_t now_us)
{
    bool own = step == s->step, fresh = false;
    uint32_t brought = speculation_member_of(s, number)->brought;
    if (step < s->step || step - s->step >= 64) {
        came(s, step, number, first, end, now_us);
        return;
    }
    for (uint32_t k = first; k < end && k < s->slots; k++) {
        struct speculation_slot *slot = &s->slot[k];
        own &= slot->holder == number && slot->since_us == s->opened_us && slot->helper == DEALER_NOBODY;
        bool was_in = speculation_in(s, k);
        slot->arrived |= UINT64_C(1) << (step - s->step);
        if (!was_in && speculation_in(s, k))
            slot_arrived(s, k, number);
        fresh |= !was_in;
    }
    came(s, step, number, first, end, now_us);
    if (!fresh)
        return;
    if (step == s->step && s->list[number].brought > brought)
        s->list[number].brought_us = now_us;
    if (s->ahead > 0)
        learn_gap(s, step, number, now_us);
    else if (own)
        learn_share(s, number, now_us);
}

void speculation_stalled(struct speculation *s, uint32_t number, uint64_t now_us)
{
    struct delivery *d = &speculation_member_of(s, number)->delivery;
    bool partly = d->silent_us == 0; /* all of it has come to the first shard, and not to another one */
    if (d->hung)
        return;
    delivery_hang(d, partly ? now_us - MIN(now_us, s->opened_us) : 0, now_us);
    s->changes++;
}

void speculation_believe(const struct speculation *s, const uint32_t *numbers, uint32_t count, double *slot_us)
{
    double said = 0; /* the largest part of what its slots took that any member owns to */
    for (uint32_t i = 0; i < count; i++) {
        const struct delivery *d = &s->list[numbers[i]].delivery;
        if (d->shown_us > 0)
            said = MAX(said, MIN(slot_us[numbers[i]] / d->shown_us, 1));
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct delivery *d = &s->list[numbers[i]].delivery;
        double *us = &slot_us[numbers[i]], shown_us = said * d->shown_us;
        if (*us <= 0 || shown_us > BOAST * *us)
            *us = shown_us;
        *us = MAX(*us, d->floor_us);
    }
}

bool speculation_hung(const struct speculation *s, uint32_t number)
{
    return s->list && s->list[number].delivery.hung;
}
