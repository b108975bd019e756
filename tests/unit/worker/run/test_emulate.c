/* Emulated compute: how long a slot takes, and what is no option. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "worker/run/emulate.h"

Test(emulate, a_slot_takes_its_time_and_stalls_have_their_share)
{
    struct emulate e;
    dp_error err;
    uint32_t stalls = 0;
    cr_assert_eq(emulate_init(&e, 5, 4, "3@0.2", &err), DP_OK);
    for (uint64_t step = 0; step < 1000; step++)
        for (uint32_t slot = 0; slot < 10; slot++) {
            double ms = emulate_slot_ms(&e, step, slot);
            cr_assert(ms == 20 || ms == 60);
            cr_assert_eq(ms, emulate_slot_ms(&e, step, slot), "the same whenever it is computed");
            stalls += ms == 60;
        }
    cr_assert(stalls > 1700 && stalls < 2300, "%u of 10000", stalls);
}

Test(emulate, nothing_is_emulated_by_default)
{
    struct emulate e = {0};
    dp_error err;
    cr_assert_eq(emulate_slot_ms(&e, 1, 2), 0);
    cr_assert_eq(emulate_init(&e, 0, 1, NULL, &err), DP_OK);
    cr_assert_eq(emulate_slot_ms(&e, 1, 2), 0);
    cr_assert_eq(emulate_init(&e, 0, 9, NULL, &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "--emulate-slower is a multiple of --emulate-slot-ms"));
    cr_assert_eq(emulate_init(&e, 0, 1, "3@0.2", &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "--emulate-stalls is a multiple of --emulate-slot-ms"));
}

Test(emulate, a_wait_is_not_too_short)
{
    struct emulate e;
    dp_error err;
    cr_assert_eq(emulate_init(&e, 2, 1.5, NULL, &err), DP_OK);
    uint64_t begin = mono_ns();
    emulate_wait(&e, 0, 0, begin);
    cr_assert_geq(mono_ns() - begin, 3000000);
}

Test(emulate, a_wait_ends_when_the_program_is_stopped, .timeout = 30)
{
    struct emulate e;
    dp_error err;
    const volatile int stop = 1;
    cr_assert_eq(emulate_init(&e, 86400000, 1, NULL, &err), DP_OK);
    e.stop = &stop;
    emulate_wait(&e, 0, 0, mono_ns());
}

Test(emulate, what_is_no_stall_is_refused)
{
    static const char *const WRONG[] = {"",      "3",    "3@",      "@0.2",  "3@0.2x", "0.5@0.2",
                                        "3@1.5", "3@-1", "nan@0.1", "3@nan", "1e9@1"};
    struct emulate e;
    dp_error err;
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        cr_assert_eq(emulate_init(&e, 1, 1, WRONG[i], &err), DP_USAGE, "%s", WRONG[i]);
        cr_assert_not_null(strstr(err.text, "--emulate-stalls"));
    }
}
