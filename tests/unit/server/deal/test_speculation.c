/* Speculation: late slots go to the idle, slots in time do not, and every copy is accounted for. */
#include <criterion/criterion.h>

#include "server/deal/speculation_decide.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/speculation_members.h"

static const uint32_t ALL[MEMBERS] = {0, 1, 2, 3, 4, 5, 6, 7};
static const struct dealer HALVES = {.slots = SLOTS, .owner = OWNER, .base_owner = OWNER, .next_owner = OWNER};

static void open_halves(struct speculation *s, uint64_t step, uint64_t now_us)
{
    speculation_open(s, step, 0, 0, OWNER, none_empty, NULL, now_us);
}

static uint32_t decide(struct speculation *s, uint32_t members, uint64_t now_us, struct speculation_gift *gifts,
                       uint64_t *ret_again_us)
{
    return speculation_decide(s, &HALVES, ALL, members, now_us, gifts, ret_again_us);
}

/* Both deliver in time: so long takes a slot. */
static uint64_t learn(struct speculation *s)
{
    uint64_t now = 1000000;
    open_halves(s, 0, now);
    now += 4 * SLOT_US;
    speculation_arrived(s, 0, 0, 0, 4, now);
    speculation_arrived(s, 0, 1, 4, 8, now);
    cr_assert_float_eq(s->unit_us[0], SLOT_US, 1);
    return now;
}

/* Before a slot's time is known, one that is missing for long goes to each idle member, and to another one after as
 * long again. */
Test(speculation, before_a_slot_time_is_known_slots_are_given_one_by_one)
{
    enum { BLIND_US = 2000000 };
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again;
    set_up(&s);
    open_halves(&s, 0, 1);
    cr_assert_eq(decide(&s, 2, 1000000000, gifts, &again), 0, "nobody is idle");
    cr_assert_eq(decide(&s, 3, BLIND_US, gifts, &again), 0);
    cr_assert_gt(again, BLIND_US);
    cr_assert_eq(decide(&s, 3, again, gifts, &again), 1);
    cr_assert_eq(gifts[0].member, 2);
    cr_assert_eq(gifts[0].slot, 0);
    cr_assert_eq(decide(&s, 3, 3 * BLIND_US, gifts, &again), 0, "it is busy with that");
    cr_assert_eq(decide(&s, 5, 5 * BLIND_US, gifts, &again), 2, "two more are idle");
    cr_assert_eq(gifts[0].slot, 0, "whose copy is late");
    cr_assert_eq(gifts[1].slot, 1);
    cr_assert_eq(s.given, 3);
    cr_assert_eq(s.lost, 1);
    speculation_fini(&s);
}

/* The attack: the copies of a worker that hangs come, it does not, and it is not idle for that. */
Test(speculation, a_worker_whose_slots_came_from_others_is_not_idle)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint32_t owner[SLOTS] = {0, 0, 0, 0, 0, 0, 0, 1};
    uint64_t again;
    set_up(&s);
    uint64_t now = learn(&s);
    speculation_open(&s, 1, 0, 0, owner, none_empty, NULL, now);
    now += 12 * SLOT_US;
    cr_assert_geq(decide(&s, 3, now, gifts, &again), 1);
    cr_assert_eq(gifts[0].slot, 7);
    cr_assert_eq(gifts[0].member, 2, "the only one that holds none");
    speculation_arrived(&s, 1, 2, 7, 8, now);
    now += 20 * SLOT_US;
    cr_assert_eq(decide(&s, 2, now, gifts, &again), 0, "1 has delivered nothing");
    cr_assert_geq(decide(&s, 4, now, gifts, &again), 1);
    for (uint32_t k = 0; k < 7; k++)
        cr_assert_neq(s.slot[k].helper, 1);
    uint32_t helper = s.slot[6].helper;
    uint64_t lost = s.lost;
    cr_assert(helper == 2 || helper == 3);
    speculation_arrived(&s, 1, 1, 7, 8, now);
    now += 40 * SLOT_US;
    cr_assert_geq(decide(&s, 2, now, gifts, &again), 1, "what came too late shows that it lives; the copy is late too");
    cr_assert_eq(s.slot[6].helper, 1);
    cr_assert_gt(s.lost, lost);
    speculation_arrived(&s, 1, 0, 0, 7, now);
    cr_assert_eq(s.missing, 0);
    cr_assert_eq(s.given, s.won + s.lost);
    speculation_fini(&s);
}

/* A stall is proof enough. One that reaches the first shard and not another one would come back at once: it is left out
 * for nine times what it has cost. */
Test(speculation, who_stalls_a_step_is_hung_at_once)
{
    enum { STALL_US = 30000000 };
    struct speculation s;
    set_up(&s);
    uint64_t now = learn(&s);
    open_halves(&s, 1, now);
    speculation_arrived(&s, 1, 0, 0, 4, now + SLOT_US);
    now += STALL_US;
    for (uint32_t m = 0; m < 2; m++) {
        speculation_stalled(&s, m, now);
        cr_assert(speculation_hung(&s, m));
    }
    cr_assert_eq(s.changes, 2);
    for (uint32_t m = 0; m < 2; m++)
        speculation_arrived(&s, 0, m, 0, 1, now + DELIVERY_OUT_US);
    cr_assert(speculation_hung(&s, 0), "all that it owed had come, to the first shard");
    cr_assert_not(speculation_hung(&s, 1));
    speculation_arrived(&s, 0, 0, 0, 1, now + UINT64_C(9) * STALL_US - 1);
    cr_assert(speculation_hung(&s, 0));
    speculation_arrived(&s, 0, 0, 0, 1, now + UINT64_C(9) * STALL_US);
    cr_assert_not(speculation_hung(&s, 0));
    speculation_fini(&s);
}

/* Steps that end without a member's slots: after a few it is hung; what comes ends that, not at once. */
Test(speculation, who_delivers_nothing_is_hung_after_a_few_steps)
{
    struct speculation s;
    set_up(&s);
    uint64_t now = learn(&s), changes = s.changes;
    for (uint64_t step = 1; step < 6; step++) {
        cr_assert_eq(speculation_hung(&s, 1), step > DELIVERY_MISSES + 1, "step %llu", (unsigned long long)step);
        open_halves(&s, step, now);
        now += 20 * SLOT_US;
        speculation_arrived(&s, step, 0, 0, 8, now);
        cr_assert_not(speculation_hung(&s, 0));
    }
    cr_assert_eq(s.changes, changes + 1);
    speculation_arrived(&s, 4, 1, 4, 8, now);
    cr_assert(speculation_hung(&s, 1), "too soon");
    speculation_arrived(&s, 4, 1, 4, 8, now + DELIVERY_OUT_US);
    cr_assert_not(speculation_hung(&s, 1));
    cr_assert_eq(s.changes, changes + 2);
    speculation_fini(&s);
}

Test(speculation, what_comes_in_time_is_not_computed_twice)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again;
    set_up(&s);
    uint64_t now = learn(&s);
    open_halves(&s, 1, now);
    speculation_arrived(&s, 1, 0, 0, 4, now + 4 * SLOT_US - 3000);
    cr_assert_eq(decide(&s, 2, now + 4 * SLOT_US - 3000, gifts, &again), 0);
    cr_assert_gt(again, now + 4 * SLOT_US);
    speculation_arrived(&s, 1, 1, 4, 8, now + 4 * SLOT_US + 1000);
    cr_assert_eq(decide(&s, 2, again, gifts, &again), 0);
    cr_assert_eq(again, 0, "nothing is owed");
    cr_assert_eq(s.given, 0);
    speculation_fini(&s);
}

/* Short steps: it was delivered before the head had looked at the step before. */
Test(speculation, nothing_is_learnt_from_what_came_before_its_step_was_opened)
{
    struct speculation s;
    set_up(&s);
    uint64_t now = learn(&s);
    open_halves(&s, 1, now);
    for (uint64_t early = 0; early < 2; early++) {
        speculation_arrived(&s, 1, (uint32_t)early, 4 * (uint32_t)early, 4 * (uint32_t)early + 4, now - early);
        cr_assert_float_eq(s.unit_us[0], SLOT_US, 1);
    }
    cr_assert_eq(s.missing, 0);
    speculation_fini(&s);
}

/* However short a slot is. */
Test(speculation, what_is_late_by_little_is_not_computed_twice)
{
    enum { SHORT_US = 100 };
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again, now = 1000000 + 4 * SHORT_US;
    set_up(&s);
    open_halves(&s, 0, 1000000);
    speculation_arrived(&s, 0, 0, 0, 4, now);
    speculation_arrived(&s, 0, 1, 4, 8, now);
    open_halves(&s, 1, now);
    speculation_arrived(&s, 1, 0, 0, 4, now + 4 * SHORT_US);
    cr_assert_eq(decide(&s, 2, now + SPECULATION_GAIN_US, gifts, &again), 0);
    cr_assert_gt(again, now + SPECULATION_GAIN_US);
    cr_assert_gt(decide(&s, 2, again, gifts, &again), 0);
    speculation_fini(&s);
}

Test(speculation, the_slots_of_a_frozen_worker_go_to_the_idle)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again;
    set_up(&s);
    uint64_t now = learn(&s);
    open_halves(&s, 1, now);
    speculation_arrived(&s, 1, 0, 0, 4, now + 4 * SLOT_US);
    cr_assert_eq(decide(&s, 3, now + 4 * SLOT_US, gifts, &again), 0);
    cr_assert_eq(decide(&s, 3, again - 2, gifts, &again), 0);
    cr_assert_eq(decide(&s, 3, again, gifts, &again), 2, "late by a slot and a half: one for each of the idle");
    uint64_t late = now + 8 * SLOT_US;
    cr_assert_eq(decide(&s, 3, late, gifts, &again), 0, "they are busy with these");
    for (uint32_t k = 6; k < 8; k++)
        speculation_arrived(&s, 1, s.slot[k].helper, k, k + 1, late);
    cr_assert_eq(s.won, 2);
    cr_assert(s.list[1].beaten, "the owner is told");
    cr_assert_eq(decide(&s, 3, late, gifts, &again), 2, "the other two");
    speculation_arrived(&s, 1, 1, 4, 8, late + 2);
    cr_assert_eq(s.given, 4);
    cr_assert_eq(s.lost, 2);
    cr_assert(s.list[0].beaten && s.list[2].beaten);
    cr_assert_eq(s.missing, 0);
    speculation_fini(&s);
}

/* Slots that a slow worker will not have done by then are taken over at once. */
Test(speculation, an_idle_worker_takes_what_a_slow_one_would_have_later)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again;
    set_up(&s);
    uint64_t now = learn(&s);
    speed[1] = 0.25;
    open_halves(&s, 1, now);
    now += 4 * SLOT_US;
    speculation_arrived(&s, 1, 0, 0, 4, now);
    cr_assert_eq(decide(&s, 2, now, gifts, &again), 4, "they come together, after as long as 16 of the other's");
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(gifts[i].slot, 7 - i);
    speculation_fini(&s);
}

Test(speculation, a_helper_that_is_gone_is_replaced)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    bool alive[MEMBERS] = {true, true, false};
    uint32_t owner[SLOTS] = {0, 0, 0, 0, 1, 1, 1, 1};
    uint64_t again;
    set_up(&s);
    uint64_t now = learn(&s);
    open_halves(&s, 1, now);
    speculation_arrived(&s, 1, 0, 0, 4, now + 4 * SLOT_US);
    now += 12 * SLOT_US;
    cr_assert_eq(decide(&s, 3, now, gifts, &again), 4);
    uint64_t given = s.given, by_two = 0;
    for (uint32_t i = 0; i < 4; i++)
        by_two += gifts[i].member == 2;
    cr_assert_gt(by_two, 0);
    speculation_owners(&s, owner, lives, alive, now);
    cr_assert_eq(s.lost, by_two);
    speculation_arrived(&s, 1, 0, 4, 8, now + SLOT_US);
    cr_assert_eq(s.won + s.lost, given);
    speculation_fini(&s);
}

/* With several shards, a quick worker's slots of the next step come before the head knows that this one is complete. */
Test(speculation, what_comes_early_is_kept_in_mind)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again;
    set_up(&s);
    uint64_t now = learn(&s);
    speculation_arrived(&s, 1, 0, 0, 4, now);
    open_halves(&s, 1, now + 10);
    cr_assert_eq(s.missing, 4);
    cr_assert(speculation_in(&s, 3));
    cr_assert_not(speculation_in(&s, 4));
    for (uint32_t i = decide(&s, 2, now + 20, gifts, &again); i > 0; i--)
        cr_assert_geq(gifts[i - 1].slot, 4, "not what has come");
    speculation_fini(&s);
}

Test(speculation, slots_without_samples_are_there)
{
    struct speculation s;
    uint32_t owner[SLOTS] = {0, 0, 0, 0, 1, 1, 1, 1};
    set_up(&s);
    speculation_open(&s, 0, 0, 1, owner, odd_empty, NULL, 5);
    cr_assert_eq(s.missing, 4);
    speculation_arrived(&s, 0, 0, 0, 4, 5 + 2 * SLOT_US);
    cr_assert_float_eq(s.unit_us[1], SLOT_US, 1);
    speculation_fini(&s);
}

/* ---- on arrival ---- */

enum { AHEAD = 2 };

static void open_ahead(struct speculation *s, uint64_t step, uint32_t ahead, uint64_t now_us)
{
    speculation_open(s, step, ahead, 0, OWNER, none_empty, NULL, now_us);
}

/* Slots [first, end) of a step, one by one, a slot's time between them; when the last has come. */
static uint64_t deliver(struct speculation *s, uint64_t step, uint32_t member, uint32_t first, uint32_t end,
                        uint64_t now_us)
{
    for (uint32_t k = first; k < end; k++)
        speculation_arrived(s, step, member, k, k + 1, now_us += SLOT_US);
    return now_us;
}

Test(speculation, a_slot_of_a_later_step_is_none_of_this_one)
{
    struct speculation s;
    set_up(&s);
    open_ahead(&s, 5, AHEAD, 1000);
    speculation_arrived(&s, 7, 0, 0, 4, 2000);
    speculation_arrived(&s, 4, 0, 0, 4, 2000);
    speculation_arrived(&s, 5 + 64, 0, 0, 4, 2000);
    cr_assert_eq(s.missing, SLOTS);
    speculation_arrived(&s, 5, 0, 0, 1, 3000);
    cr_assert(speculation_in(&s, 0) && !speculation_in(&s, 1));
    open_ahead(&s, 6, AHEAD, 4000);
    cr_assert_eq(s.missing, SLOTS, "nothing of step 6 has come");
    open_ahead(&s, 7, AHEAD, 5000);
    cr_assert_eq(s.missing, SLOTS - 4);
    speculation_fini(&s);
}

Test(speculation, a_slots_time_is_the_gap_to_the_one_before)
{
    struct speculation s;
    set_up(&s);
    open_ahead(&s, 0, AHEAD, 1000);
    uint64_t now = deliver(&s, 0, 1, 4, 8, 900000);
    cr_assert_float_eq(s.unit_us[0], SLOT_US, 1, "how long the first took is not known");
    now = deliver(&s, 1, 1, 4, 8, now);
    now = deliver(&s, 2, 1, 4, 8, now);
    cr_assert_float_eq(s.unit_us[0], SLOT_US, 1);
    now = deliver(&s, 0, 0, 0, 4, now);
    open_ahead(&s, 1, AHEAD, now);
    deliver(&s, 3, 1, 4, 8, now + 60 * SLOT_US);
    cr_assert_float_eq(s.unit_us[0], SLOT_US, 1, "it has waited for step 3");
    uint32_t held = s.list[0].held;
    cr_assert_eq(held, 4);
    speculation_arrived(&s, 1, 0, 0, 1, now + 1000 * SLOT_US);
    cr_assert_lt(s.unit_us[0], 1.3 * SLOT_US, "one that was frozen says little");
    speculation_fini(&s);
}

/* A worker that is ahead is idle when all its slots of steps that may be open have come, not before. */
Test(speculation, who_has_later_steps_to_do_is_not_idle)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again;
    set_up(&s);
    open_ahead(&s, 0, AHEAD, 1000);
    uint64_t now = deliver(&s, 0, 1, 4, 7, 1000);
    now = deliver(&s, 0, 0, 0, 4, now);
    now = deliver(&s, 1, 0, 0, 4, now);
    cr_assert_eq(decide(&s, 2, now + 100 * SLOT_US, gifts, &again), 0, "step 2 is to be done");
    now = deliver(&s, 2, 0, 0, 3, now + 100 * SLOT_US);
    cr_assert_eq(decide(&s, 2, now, gifts, &again), 0);
    now = deliver(&s, 2, 0, 3, 4, now);
    cr_assert_eq(decide(&s, 2, now, gifts, &again), 1);
    cr_assert_eq(gifts[0].slot, 7);
    cr_assert_eq(gifts[0].member, 0);
    speculation_fini(&s);
}

/* Before an evaluation, or the end, no steps are open beside the last one. */
Test(speculation, what_is_late_before_a_barrier_goes_to_the_idle)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again;
    set_up(&s);
    open_ahead(&s, 0, 1, 1000);
    uint64_t now = deliver(&s, 0, 0, 0, 4, 1000);
    now = deliver(&s, 0, 1, 4, 8, now);
    open_ahead(&s, 1, 0, now);
    now = deliver(&s, 1, 0, 0, 4, now);
    cr_assert_eq(decide(&s, 2, now, gifts, &again), 0, "due just now");
    cr_assert_eq(decide(&s, 2, again, gifts, &again), 1);
    speculation_fini(&s);
}

/* ---- patience ---- */

/* Stalls that end before a copy would: copies of what is late are given later and later, but for ever not. */
Test(speculation, copies_that_come_too_late_are_given_later)
{
    struct speculation s;
    struct speculation_gift gifts[SLOTS];
    uint64_t again, patience[9];
    set_up(&s);
    uint64_t now = learn(&s);
    for (uint64_t step = 1; step < 9; step++) {
        open_halves(&s, step, now);
        speculation_arrived(&s, step, 0, 0, 4, now + 4 * SLOT_US);
        cr_assert_eq(decide(&s, 2, now + 4 * SLOT_US, gifts, &again), 0);
        patience[step] = again - (now + 4 * SLOT_US);
        cr_assert_eq(decide(&s, 2, again, gifts, &again), 1);
        now += 4 * SLOT_US + patience[step];
        speculation_arrived(&s, step, 1, 4, 8, now + 1);
    }
    for (uint32_t i = 2; i < 9; i++)
        cr_assert_geq(patience[i], patience[i - 1]);
    cr_assert_gt(patience[8], 3 * patience[1]);
    cr_assert_eq(patience[8], patience[7], "there is an end to it");
    cr_assert_eq(s.lost, 8);
    speculation_fini(&s);
}
