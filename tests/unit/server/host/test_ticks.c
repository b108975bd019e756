/* A server that did not run knows it, from its first tick on. */
#include <criterion/criterion.h>

#include "server/host/ticks.h"

/* mono_ms is the uptime of the machine: any number. */
enum { START_MS = 7000000 };

Test(ticks, one_that_slept_before_its_first_tick_knows_it)
{
    struct ticks ticks;
    ticks_start(&ticks, START_MS);
    cr_assert_eq(ticks_slept_ms(&ticks, START_MS + 8000), 8000);
    cr_assert_eq(ticks_slept_ms(&ticks, START_MS + 8250), 0);
}

Test(ticks, one_that_ran_has_not_slept)
{
    struct ticks ticks;
    ticks_start(&ticks, START_MS);
    for (uint64_t now_ms = START_MS + 250; now_ms < START_MS + 60000; now_ms += 250)
        cr_assert_eq(ticks_slept_ms(&ticks, now_ms), 0);
    cr_assert_eq(ticks_slept_ms(&ticks, START_MS + 60000 + TICKS_SLEPT_MS - 251), 0, "a loop may be busy");
}

Test(ticks, one_that_sleeps_between_ticks_knows_it)
{
    struct ticks ticks;
    ticks_start(&ticks, START_MS);
    cr_assert_eq(ticks_slept_ms(&ticks, START_MS + 250), 0);
    cr_assert_eq(ticks_slept_ms(&ticks, START_MS + 250 + TICKS_SLEPT_MS), TICKS_SLEPT_MS);
}
