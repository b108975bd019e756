/* Hung members, and how far members are believed. */
#include <criterion/criterion.h>

#include "common/base/util.h"
#include "server/deal/speculation.h"
#include "tests/unit/support/leaks.h"

enum { SLOTS = 8, MEMBERS = 8 };

static const uint32_t ALL[MEMBERS] = {0, 1, 2, 3, 4, 5, 6, 7};
static double speed[MEMBERS];

static void set_up(struct speculation *s)
{
    for (uint32_t m = 0; m < MEMBERS; m++)
        speed[m] = 1;
    cr_assert_eq(speculation_init(s, SLOTS, MEMBERS, speed), DP_OK);
}

/* Each time that a member hangs again soon, it is left out for twice as long; after a good minute as at first. */
Test(delivery, who_hangs_again_and_again_is_left_out_for_longer)
{
    struct delivery d = {0};
    uint64_t now = 1000000, out = DELIVERY_OUT_US;
    for (int time = 0; time < 9; time++) {
        delivery_hang(&d, 0, now);
        cr_assert_not(delivery_came(&d, false, now + out - 1));
        cr_assert(delivery_came(&d, false, now + out));
        cr_assert_not(d.hung);
        now += out + 1000;
        out = MIN(2 * out, (uint64_t)DELIVERY_OUT_US << DELIVERY_OUT_DOUBLINGS);
    }
    now += DELIVERY_RELAPSE_US;
    delivery_hang(&d, 0, now);
    cr_assert(delivery_came(&d, false, now + DELIVERY_OUT_US));
}

/* A slot that was in time is forgiven; a copy that the first one beat at once is no fault. */
Test(delivery, who_is_beaten_in_time_is_idle_at_the_next_step)
{
    struct delivery d = {0};
    for (uint64_t step = 1; step < 100; step++) {
        delivery_owe(&d, step * 1000);
        cr_assert_gt(d.owed_us, 0);
        cr_assert_not(delivery_step_ended(&d, 2000, step * 1000 + 500));
        cr_assert_eq(d.owed_us, 0);
    }
    cr_assert_eq(d.misses, 0);
}

/* A slot takes a member no less than what came shows, as far as the others own up to theirs. */
Test(delivery, what_members_say_is_not_believed_beyond_what_came)
{
    struct speculation s;
    set_up(&s);
    double us[MEMBERS] = {5000, 10, 0, 1000};
    static const double SHOWN[] = {5500, 5500, 8000, 0};
    for (uint32_t m = 0; m < 4; m++)
        if (SHOWN[m] > 0)
            delivery_shown(&s.list[m].delivery, SHOWN[m]);
    speculation_believe(&s, ALL, 5, us);
    cr_assert_float_eq(us[0], 5000, 1e-9);
    cr_assert_float_eq(us[1], 5000, 1e-9, "as 0, of which 500 are not computing");
    cr_assert_float_eq(us[2], 8000 * 5000 / 5500.0, 1e-6, "what it says is not known");
    cr_assert_eq(us[3], 1000, "nothing came yet");
    cr_assert_eq(us[4], 0);
    double moving[MEMBERS] = {100, 110}; /* a member that moves bytes most of the time is believed */
    speculation_believe(&s, ALL, 2, moving);
    cr_assert(moving[0] == 100 && moving[1] == 110);
    for (uint32_t i = 0; i < DELIVERY_LATE; i++)
        delivery_late(&s.list[0].delivery, true, 70000, 1000);
    speculation_believe(&s, ALL, 1, moving);
    cr_assert_eq(moving[0], 70000, "late time after time");
    delivery_forget(&s.list[0].delivery, 1000 + DELIVERY_FLOOR_US);
    moving[0] = 100;
    speculation_believe(&s, ALL, 1, moving);
    cr_assert_eq(moving[0], 100);
    speculation_fini(&s);
    ASSERT_NO_LEAKS();
}
