/* The slot dealer: whatever joins and leaves, every slot has an owner that lives, now and from the next deal on; the
 * fast get more. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/util.h"
#include "server/deal/dealer.h"
#include "server/deal/speeds.h"
#include "tests/unit/support/leaks.h"

#define ROLL_SEED 1234567891011u
#include "tests/unit/support/roll.h"

enum { MEMBERS = 6 };

/* Members of equal speed, anew for each deal, which puts them in another order. */
#define EQUAL(...)           \
    (struct dealer_member[]) \
    {                        \
        __VA_ARGS__          \
    }

Test(dealer, first_member_takes_all_at_once)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 8, 0), DP_OK);
    dealer_deal(&d, 0, 0, EQUAL({7, 1, 0}), 1);
    cr_assert_eq(d.from, 0);
    for (uint32_t k = 0; k < 8; k++)
        cr_assert_eq(d.next_owner[k], 7);
    dealer_fini(&d);
}

Test(dealer, the_first_step_need_not_be_0)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 4, 70), DP_OK);
    for (uint32_t k = 0; k < 4; k++)
        cr_assert_eq(dealer_owner(&d, 70, k), DEALER_NOBODY);
    cr_assert(dealer_deal(&d, 70, 0, EQUAL({7, 1, 0}), 1));
    cr_assert_eq(d.from, 70, "at once");
    cr_assert_not(dealer_deal(&d, 70, 3, EQUAL({7, 1, 0}, {8, 1, 0}), 2));
    cr_assert_eq(d.from, 74, "the first step that nobody can have begun");
    for (uint64_t step = 70; step < 76; step++)
        for (uint32_t k = 0; k < 4; k++)
            cr_assert_eq(dealer_owner(&d, step, k), step < 74 || k < 2 ? 7 : 8, "step %u, slot %u", (unsigned)step, k);
    dealer_fini(&d);
}

Test(dealer, a_joiner_gets_its_share_from_the_next_step)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 8, 0), DP_OK);
    cr_assert(dealer_deal(&d, 0, 0, EQUAL({1, 1, 0}), 1), "they were nobody's");
    cr_assert_not(dealer_deal(&d, 10, 0, EQUAL({1, 1, 0}, {4, 1, 0}), 2));
    cr_assert_eq(d.from, 11);
    for (uint32_t k = 0; k < 8; k++) {
        cr_assert_eq(d.owner[k], 1, "the open step stays with whom it was");
        cr_assert_eq(d.next_owner[k], k < 4 ? 1 : 4, "contiguous runs");
    }
    dealer_open(&d, 11);
    cr_assert_eq(d.owner[7], 4);
    dealer_fini(&d);
}

Test(dealer, the_open_slots_of_the_lost_go_to_others)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 4, 0), DP_OK);
    dealer_deal(&d, 0, 0, EQUAL({1, 1, 0}, {4, 1, 0}), 2);
    cr_assert(dealer_deal(&d, 3, 0, EQUAL({1, 1, 0}), 1));
    cr_assert_eq(d.from, 4);
    for (uint32_t k = 0; k < 4; k++)
        cr_assert_eq(d.owner[k], 1);
    dealer_fini(&d);
}

static uint32_t count_of(const struct dealer *d, uint32_t member)
{
    uint32_t count = 0;
    for (uint32_t k = 0; k < d->slots; k++)
        count += d->next_owner[k] == member;
    return count;
}

/* 4 workers of which one is 4 times slower, K = 16: 5 slots in the time of 5, instead of 4 in the time of 16. */
Test(dealer, slots_are_in_proportion_to_speed_from_the_step_after_the_next)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 16, 0), DP_OK);
    dealer_deal(&d, 0, 0, EQUAL({0, 1, 0}, {1, 1, 0}, {2, 1, 0}, {3, 1, 0}), 4);
    cr_assert_eq(count_of(&d, 1), 4);
    cr_assert(dealer_balance(&d, 20, 0, EQUAL({0, 1, 0}, {1, 0.25, 0}, {2, 1, 0}, {3, 1, 0}), 4));
    cr_assert_eq(d.from, 22);
    cr_assert_eq(count_of(&d, 1), 1);
    cr_assert_eq(count_of(&d, 0), 5);
    cr_assert_eq(count_of(&d, 3), 5);
    dealer_open(&d, 21);
    cr_assert_eq(d.owner[4], 1, "nothing moves before the step that was announced");
    dealer_open(&d, 22);
    cr_assert_eq(d.owner[4], 0);
    cr_assert_eq(d.owner[15], 1);
    dealer_fini(&d);
}

Test(dealer, speeds_that_waver_move_nothing)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 64, 0), DP_OK);
    dealer_deal(&d, 0, 0, EQUAL({0, 1, 0}, {1, 1, 0}), 2);
    for (uint64_t open = 1; open < 1000; open++) {
        double a = 0.95 + roll(100) / 1000.0, b = 0.95 + roll(100) / 1000.0;
        cr_assert_not(dealer_balance(&d, open, 0, EQUAL({0, a, 0}, {1, b, 0}), 2));
    }
    dealer_fini(&d);
}

/* Four members with a slot each, whose work differs by 4 to 1. */
static void check_speeds(const double *slot_us, double step_us, double slowest)
{
    static const uint32_t NUMBERS[] = {0, 1, 2, 3};
    struct dealer d;
    double speed[4];
    cr_assert_eq(dealer_init(&d, 4, 0), DP_OK);
    dealer_deal(&d, 0, 0, EQUAL({0, 1, 0}, {1, 1, 0}, {2, 1, 0}, {3, 1, 0}), 4);
    speeds_find(&d, slot_us, step_us, NUMBERS, 4, speed);
    cr_assert_float_eq((speed[0] + speed[1] + speed[2] + speed[3]) / 4, 1, 1e-12);
    cr_assert_float_eq(speed[1] / speed[0], slowest, 1e-12);
    dealer_fini(&d);
}

Test(dealer, who_computes_little_beside_the_rest_of_a_step_is_as_fast_as_others)
{
    static const double US[] = {1000, 4000, 1000, 1000};
    check_speeds(US, 0, 0.25);
    check_speeds(US, 4000, 0.25);
    check_speeds(US, 2000, 0.25); /* steps overlap */
    check_speeds(US, 4000 + 8000, 9.0 / 12);
    check_speeds(US, 4000 + 1e6, (1000 + 1e6) / (4000 + 1e6));
}

Test(dealer, a_member_that_has_shown_no_speed_counts_as_the_mean)
{
    static const double US[] = {1000, 500, 0, 0};
    static const uint32_t NUMBERS[] = {0, 1, 3};
    struct dealer d;
    double speed[4] = {0, 0, -1, 0};
    cr_assert_eq(dealer_init(&d, 4, 0), DP_OK);
    speeds_find(&d, US, 0, NUMBERS, 3, speed);
    cr_assert_float_eq(speed[0], 2.0 / 3, 1e-12);
    cr_assert_float_eq(speed[1], 4.0 / 3, 1e-12);
    cr_assert_eq(speed[2], -1);
    cr_assert_eq(speed[3], 1);
    dealer_fini(&d);
}

/* No member could take another slot, or be spared one, for the step to end sooner. */
Test(dealer, the_longest_time_is_the_shortest_possible)
{
    for (int round = 0; round < 2000; round++) {
        struct dealer d;
        struct dealer_member m[MEMBERS];
        uint32_t count = 1 + roll(MEMBERS), total = 0;
        for (uint32_t i = 0; i < count; i++)
            m[i] = (struct dealer_member){.number = i, .speed = 0.05 + roll(1000) / 300.0};
        cr_assert_eq(dealer_init(&d, 1 + roll(70), 0), DP_OK);
        dealer_deal(&d, 0, 0, m, count);
        double longest = 0;
        for (uint32_t i = 0; i < count; i++)
            longest = MAX(longest, m[i].slots / m[i].speed);
        for (uint32_t i = 0; i < count; i++) {
            cr_assert_geq((m[i].slots + 1) / m[i].speed, longest * (1 - 1e-12));
            cr_assert_eq(count_of(&d, m[i].number), m[i].slots);
            total += m[i].slots;
        }
        cr_assert_eq(total, d.slots);
        dealer_fini(&d);
    }
}

Test(dealer, runs_of_equal_powers_of_two_are_blocks_of_the_tree)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 16, 0), DP_OK);
    dealer_deal(&d, 0, 0, EQUAL({0, 1, 0}, {1, 4, 0}, {2, 1, 0}, {3, 2, 0}), 4);
    for (uint32_t k = 1; k < 16; k++)
        if (d.next_owner[k] != d.next_owner[k - 1])
            cr_assert_eq(k % count_of(&d, d.next_owner[k]), 0);
    dealer_fini(&d);
}

/* With commits on arrival, a joiner gets slots of steps that nobody can have begun, and a lost member is replaced at
 * steps that may have been begun. */
Test(dealer, steps_that_may_have_been_begun_stay_with_whom_they_were)
{
    struct dealer d;
    cr_assert_eq(dealer_init(&d, 8, 0), DP_OK);
    dealer_deal(&d, 0, 3, EQUAL({1, 1, 0}), 1);
    cr_assert_eq(d.from, 0);
    dealer_deal(&d, 10, 3, EQUAL({1, 1, 0}, {4, 1, 0}), 2);
    cr_assert_eq(d.from, 14);
    for (uint32_t k = 0; k < 8; k++) {
        cr_assert_eq(dealer_owner(&d, 13, k), 1);
        cr_assert_eq(dealer_owner(&d, 14, k), k < 4 ? 1 : 4);
    }
    dealer_deal(&d, 12, 3, EQUAL({1, 1, 0}, {4, 1, 0}, {5, 2, 0}), 3);
    cr_assert_eq(d.from, 14, "workers know already that something changes then");
    cr_assert(!dealer_balance(&d, 13, 3, EQUAL({1, 9, 0}, {4, 1, 0}, {5, 1, 0}), 3), "a deal is to come");
    dealer_deal(&d, 13, 3, EQUAL({1, 1, 0}, {5, 2, 0}), 2);
    cr_assert_eq(d.from, 14, "one is lost");
    dealer_deal(&d, 20, 3, EQUAL({1, 1, 0}), 1);
    cr_assert_eq(d.from, 21);
    dealer_open(&d, 21);
    dealer_deal(&d, 21, 3, EQUAL({1, 1, 0}, {4, 1, 0}), 2);
    cr_assert_eq(d.from, 25);
    cr_assert(!dealer_balance(&d, 24, 3, EQUAL({1, 9, 0}, {4, 1, 0}), 2));
    cr_assert(dealer_balance(&d, 25, 3, EQUAL({1, 9, 0}, {4, 1, 0}), 2));
    cr_assert_eq(d.from, 30);
    dealer_fini(&d);
}

enum { AHEAD_MAX = 3 };

struct owners {
    uint32_t at[AHEAD_MAX + 1][20];
};

static struct owners owners_of(const struct dealer *d, uint64_t open, uint32_t ahead)
{
    struct owners owners = {0};
    for (uint32_t i = 0; i <= ahead; i++)
        for (uint32_t k = 0; k < d->slots; k++)
            owners.at[i][k] = dealer_owner(d, open + i, k);
    return owners;
}

static bool all_alive(const struct owners *owners, uint32_t ahead, uint32_t slots, const bool *alive)
{
    for (uint32_t i = 0; i <= ahead; i++)
        for (uint32_t k = 0; k < slots; k++)
            if (owners->at[i][k] == DEALER_NOBODY || !alive[owners->at[i][k]])
                return false;
    return true;
}

/* While members join, leave and change speed, each slot has a living owner at each step. Until a holder of slots
 * leaves, steps that may have been begun stay with their owners. */
Test(dealer, random_members_leave_no_slot_orphaned)
{
    for (int round = 0; round < 1000; round++) {
        struct dealer d;
        bool alive[MEMBERS] = {false};
        uint64_t open = 0;
        const uint32_t ahead = roll(AHEAD_MAX + 1);
        cr_assert_eq(dealer_init(&d, 1 + roll(20), 0), DP_OK);
        for (int event = 0; event < 200; event++) {
            struct dealer_member members[MEMBERS];
            uint32_t count = 0;
            bool changed = roll(3) > 0;
            dealer_open(&d, open);
            struct owners before = owners_of(&d, open, ahead);
            alive[roll(MEMBERS)] ^= changed;
            bool stays = all_alive(&before, ahead, d.slots, alive) && (d.from <= open || !changed);
            for (uint32_t m = 0; m < MEMBERS; m++)
                if (alive[m])
                    members[count++] = (struct dealer_member){.number = m, .speed = 0.1 + roll(10)};
            uint32_t some = count ? members[roll(count)].number : DEALER_NOBODY;
            if (changed)
                dealer_deal(&d, open, ahead, members, count);
            else if (count)
                (void)dealer_balance(&d, open, ahead, members, count);
            struct owners after = owners_of(&d, open, ahead);
            cr_assert(!stays || memcmp(&before, &after, sizeof before) == 0);
            cr_assert(count == 0 || all_alive(&after, ahead, d.slots, alive));
            if (count && roll(2))
                dealer_reassign(&d, open, roll(d.slots), some);
            for (uint32_t k = 0; k < d.slots; k++) {
                cr_assert(count ? alive[d.owner[k]] : d.owner[k] == DEALER_NOBODY);
                cr_assert(count ? alive[d.next_owner[k]] : d.next_owner[k] == DEALER_NOBODY);
            }
            cr_assert_leq(d.from, open + 2 + ahead);
            open += count ? roll(3) : 0;
        }
        dealer_fini(&d);
    }
    ASSERT_NO_LEAKS();
}
