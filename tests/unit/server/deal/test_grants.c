/* Slots that a session may push, as deals come and go: exactly those that it holds, extra ones of the open step, and
 * those that it lost lately. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "server/deal/grants.h"
#include "tests/unit/support/leaks.h"

enum { K = 200 };

static void deal(struct grants *g, uint32_t first, uint32_t end, uint64_t step)
{
    grants_begin(g);
    for (uint32_t k = first; k < end; k++)
        grants_dealt(g, k);
    grants_end(g, step);
}

Test(grants, nothing_is_allowed_at_first)
{
    struct grants g = {0};
    cr_assert_eq(grants_lacking(&g, 0, 0, 1), 0);
    cr_assert_eq(grants_lacking(&g, 0, 7, 7), 7, "of no slots none lacks");
    cr_assert_eq(grants_init(&g, K), DP_OK);
    cr_assert_eq(grants_lacking(&g, 0, 5, K), 5);
    grants_fini(&g);
    ASSERT_NO_LEAKS();
}

Test(grants, what_is_held_and_nothing_else)
{
    struct grants g = {0};
    cr_assert_eq(grants_init(&g, K), DP_OK);
    for (uint32_t first = 0; first < K; first += 13)
        for (uint32_t end = first; end <= K; end += 11) {
            grants_fini(&g);
            cr_assert_eq(grants_init(&g, K), DP_OK);
            deal(&g, first, end, 0);
            for (uint32_t k = 0; k < K; k++)
                cr_assert_eq(grants_lacking(&g, 9, k, k + 1), k >= first && k < end ? k + 1 : k);
            cr_assert_eq(grants_lacking(&g, 9, first, end), end, "the whole run");
            if (end > first && end < K)
                cr_assert_eq(grants_lacking(&g, 9, first, end + 1), end, "and one more");
        }
    grants_fini(&g);
    ASSERT_NO_LEAKS();
}

Test(grants, a_lost_slot_is_good_for_a_while)
{
    struct grants g = {0};
    cr_assert_eq(grants_init(&g, K), DP_OK);
    deal(&g, 0, K, 10);
    deal(&g, 0, 100, 50);
    cr_assert_eq(grants_lacking(&g, 50 + GRANTS_GRACE - 1, 0, K), K);
    cr_assert_eq(grants_lacking(&g, 50 + GRANTS_GRACE, 0, K), 100);
    cr_assert_eq(grants_lacking(&g, UINT64_MAX, 0, 100), 100, "what it holds has no end");
    deal(&g, 50, 100, 60);
    cr_assert_eq(grants_lacking(&g, 60 + GRANTS_GRACE - 1, 0, 100), 100);
    cr_assert_eq(grants_lacking(&g, 60 + GRANTS_GRACE, 0, 100), 0);
    grants_leave(&g, 70);
    cr_assert_eq(grants_lacking(&g, 70, 0, K), K, "the next session of its worker sends it again");
    cr_assert_eq(grants_lacking(&g, 70 + GRANTS_GRACE, 50, K), 50);
    grants_fini(&g);
    ASSERT_NO_LEAKS();
}

/* It is apart from the extra slots, which may be of an earlier step. */
Test(grants, a_probe_is_one_slot_at_one_step)
{
    struct grants g = {0};
    cr_assert_eq(grants_init(&g, K), DP_OK);
    cr_assert_eq(grants_lacking(&g, 0, 0, 1), 0, "none at first");
    grants_probe(&g, &(struct grants_probe){.step = 500, .slot = 130, .session = 3});
    grants_extra(&g, 20, 7);
    for (uint32_t k = 0; k < K; k++) {
        cr_assert_eq(grants_lacking(&g, 500, k, k + 1), k == 130 ? k + 1 : k);
        cr_assert_eq(grants_lacking(&g, 20, k, k + 1), k == 7 ? k + 1 : k);
        cr_assert_eq(grants_lacking(&g, 499, k, k + 1), k);
        cr_assert_eq(grants_lacking(&g, 501, k, k + 1), k);
    }
    grants_probe(&g, &(struct grants_probe){.step = 600, .slot = 2, .session = 3});
    cr_assert_eq(grants_lacking(&g, 500, 130, 131), 130, "the one before is over");
    cr_assert_eq(grants_lacking(&g, 600, 2, 3), 3);
    grants_leave(&g, 30);
    cr_assert_eq(grants_lacking(&g, 600, 2, 3), 2);
    grants_fini(&g);
    ASSERT_NO_LEAKS();
}

/* However often deals change, a slot is never good for longer than twice the grace, and never for less than it. */
Test(grants, under_deals_that_change_all_the_time)
{
    struct grants g = {0};
    uint64_t lost[K], seed = 88172645463325252u;
    bool held[K] = {false};
    cr_assert_eq(grants_init(&g, K), DP_OK);
    for (uint32_t k = 0; k < K; k++)
        lost[k] = UINT64_MAX;
    for (uint64_t step = 0; step < 3000; step += 1 + seed % 7) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t first = (uint32_t)(seed >> 33) % K, end = first + (uint32_t)(seed >> 17) % (K - first + 1);
        deal(&g, first, end, step);
        for (uint32_t k = 0; k < K; k++) {
            bool now = k >= first && k < end;
            lost[k] = held[k] && !now ? step : lost[k];
            held[k] = now;
            bool allowed = grants_lacking(&g, step, k, k + 1) == k + 1;
            if (now || (lost[k] != UINT64_MAX && step < lost[k] + GRANTS_GRACE))
                cr_assert(allowed, "slot %u at step %d", k, (int)step);
            else if (lost[k] == UINT64_MAX || step >= lost[k] + 2 * GRANTS_GRACE)
                cr_assert_not(allowed, "slot %u at step %d", k, (int)step);
        }
    }
    grants_fini(&g);
    ASSERT_NO_LEAKS();
}

Test(grants, extra_slots_are_those_of_one_step)
{
    struct grants g = {0};
    cr_assert_eq(grants_init(&g, K), DP_OK);
    deal(&g, 0, 8, 5);
    grants_extra(&g, 5, 8);
    grants_extra(&g, 5, 130);
    cr_assert_eq(grants_lacking(&g, 5, 0, 9), 9);
    cr_assert_eq(grants_lacking(&g, 5, 130, 131), 131);
    cr_assert_eq(grants_lacking(&g, 4, 8, 9), 8);
    cr_assert_eq(grants_lacking(&g, 6, 8, 9), 8);
    grants_extra(&g, 6, 9);
    grants_extra(&g, 5, 10); /* of a step that is over */
    cr_assert_eq(grants_lacking(&g, 6, 9, 10), 10);
    cr_assert_eq(grants_lacking(&g, 5, 10, 11), 10);
    grants_leave(&g, 6);
    cr_assert_eq(grants_lacking(&g, 6, 9, 10), 10, "the step is open still");
    grants_fini(&g);
    ASSERT_NO_LEAKS();
}

Test(grants, a_deal_is_one_block)
{
    for (uint32_t slots = 1; slots < 9; slots++) {
        struct deal *d = deal_new(slots, 2 * slots);
        cr_assert_not_null(d);
        for (uint32_t k = 0; k < slots; k++)
            d->owner[k] = k;
        for (uint32_t i = 0; i < 2 * slots; i++)
            d->extra[i] = (struct deal_extra){i, slots};
        for (uint32_t k = 0; k < slots; k++)
            cr_assert_eq(d->owner[k], k);
        free(d);
    }
    ASSERT_NO_LEAKS();
}
