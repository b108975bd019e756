/* How often a wait is awake. No test asks for how long: only which waits are, and that each ends. */
#include "spin.h"

#include <criterion/criterion.h>
#include <sched.h>

/* Waits in vain. Whether it was awake at all. */
static bool in_vain(struct spin *spin)
{
    spin_begin(spin);
    bool awake = spin->since_ns != 0;
    while (spin_more(spin))
        ;
    return awake;
}

static bool single_core(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1;
}

Test(spin, a_wait_in_vain_doubles_those_that_sleep_at_once, .timeout = 30)
{
    struct spin spin = {0};
    if (single_core())
        cr_skip("a single core");
    for (uint32_t rest = 1, times = 0; times < 10; times++) {
        cr_assert(in_vain(&spin));
        for (uint32_t i = 0; i < rest; i++)
            cr_assert_not(in_vain(&spin), "wait %u of %u", i, rest);
        rest = rest < SPIN_REST_MAX ? 2 * rest + 1 : rest;
        cr_assert_leq(rest, SPIN_REST_MAX);
    }
}

Test(spin, an_answer_in_time_makes_all_waits_awake_again, .timeout = 30)
{
    struct spin spin = {0};
    if (single_core())
        cr_skip("a single core");
    cr_assert(in_vain(&spin));
    cr_assert_not(in_vain(&spin));
    int found = 0;
    for (int tries = 0; tries < 100 && found < 10; tries++) {
        spin_begin(&spin);
        cr_assert_neq(spin.since_ns, 0);
        spin_found(&spin);
        cr_assert_not(spin_more(&spin), "what was waited for is here");
        found += spin.rest_len == 0;
        if (spin.rest_len > 0) /* this test was held up, and so in vain */
            spin.rest = 0;
    }
    cr_assert_eq(found, 10);
    cr_assert(in_vain(&spin));
    cr_assert_not(in_vain(&spin));
    cr_assert(in_vain(&spin), "as after the first one in vain");
}

/* Others had the core for so long that asleep it would have been seen as soon.
 */
Test(spin, an_answer_that_comes_late_was_waited_for_in_vain)
{
    struct spin spin = {0};
    if (single_core())
        cr_skip("a single core");
    spin_begin(&spin);
    cr_assert_neq(spin.since_ns, 0);
    spin.since_ns -= SPIN_LATE_US * 1000;
    spin_found(&spin);
    cr_assert_eq(spin.since_ns, 0);
    cr_assert_not(in_vain(&spin), "the next one sleeps at once");
    cr_assert(in_vain(&spin));
}

/* Found by a wait that slept: that says nothing of how soon. */
Test(spin, an_answer_after_sleep_changes_nothing)
{
    struct spin spin = {.rest = 5, .rest_len = 7};
    spin_begin(&spin);
    spin_found(&spin);
    cr_assert_eq(spin.rest, 4);
    cr_assert_eq(spin.rest_len, 7);
}

Test(spin, never_on_a_single_core)
{
    struct spin spin = {0};
    cpu_set_t all, one;
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0); /* each test is a process of its own */
    for (int i = 0; i < 100; i++)
        cr_assert_not(in_vain(&spin));
}
