/* The slot dealer: whatever joins and leaves, every slot has an owner that lives, now and from the next deal on. */
#include <criterion/criterion.h>

#include "dealer.h"
#include "leaks.h"

static uint64_t state = 1234567891011u;

static uint32_t roll(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

Test(dealer, first_member_takes_all_at_once)
{
    struct dealer d;
    uint32_t members[] = {7};
    cr_assert_eq(dealer_init(&d, 8), DP_OK);
    dealer_deal(&d, 0, members, 1);
    cr_assert_eq(d.from, 0);
    for (uint32_t k = 0; k < 8; k++)
        cr_assert_eq(d.next_owner[k], 7);
    dealer_fini(&d);
}

Test(dealer, a_joiner_gets_its_share_from_the_next_step)
{
    struct dealer d;
    uint32_t members[] = {1, 4};
    cr_assert_eq(dealer_init(&d, 8), DP_OK);
    dealer_deal(&d, 0, members, 1);
    dealer_deal(&d, 10, members, 2);
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
    uint32_t both[] = {1, 4}, one[] = {1};
    cr_assert_eq(dealer_init(&d, 4), DP_OK);
    dealer_deal(&d, 0, both, 2);
    dealer_deal(&d, 3, one, 1);
    cr_assert_eq(d.from, 4);
    for (uint32_t k = 0; k < 4; k++)
        cr_assert_eq(d.owner[k], 1);
    dealer_fini(&d);
}

Test(dealer, random_members_leave_no_slot_orphaned)
{
    for (int round = 0; round < 500; round++) {
        struct dealer d;
        bool alive[6] = {false};
        uint64_t open = 0;
        cr_assert_eq(dealer_init(&d, 1 + roll(20)), DP_OK);
        for (int event = 0; event < 200; event++) {
            uint32_t members[6], count = 0;
            alive[roll(6)] ^= true;
            for (uint32_t m = 0; m < 6; m++)
                if (alive[m])
                    members[count++] = m;
            dealer_deal(&d, open, members, count);
            if (count && roll(2))
                dealer_reassign(&d, open, roll(d.slots), members[roll(count)]);
            for (uint32_t k = 0; k < d.slots; k++) {
                cr_assert(count ? alive[d.owner[k]] : d.owner[k] == DEALER_NOBODY);
                cr_assert(count ? alive[d.next_owner[k]] : d.next_owner[k] == DEALER_NOBODY);
            }
            cr_assert_leq(d.from, open + 1);
            open += count ? roll(3) : 0;
        }
        dealer_fini(&d);
    }
    ASSERT_NO_LEAKS();
}
