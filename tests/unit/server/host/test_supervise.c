/* The reason for which the server gives a local worker up. */
#include <criterion/criterion.h>

#include "server/host/supervise.h"

static void assert_reason(struct supervise_death death, const char *want)
{
    dp_error err;
    death.number = 3;
    cr_assert_eq(supervise_reason(&death, &err), death.code);
    cr_assert_eq(err.code, death.code);
    cr_assert_str_eq(err.text, want);
}

Test(supervise, wrong_data_explain_themselves)
{
    assert_reason((struct supervise_death){.code = DP_DATA,
                                           .how = "exited with status 1",
                                           .said = "dp-worker: a.csv:3: column 1: 'x' is not a number"},
                  "a.csv:3: column 1: 'x' is not a number");
    assert_reason((struct supervise_death){.code = DP_USAGE, .how = "exited with status 2", .said = ""},
                  "local worker 3 exited with status 2, and said nothing");
}

/* "stopped by a signal" alone would be read as the server's own end. */
Test(supervise, deaths_name_the_worker_and_its_end)
{
    assert_reason((struct supervise_death){.code = DP_SYSTEM,
                                           .how = "exited with status 143",
                                           .again = true,
                                           .said = "dp-worker: stopped by a signal"},
                  "local worker 3 exited with status 143 again and again; it said: stopped by a signal");
    assert_reason(
        (struct supervise_death){
            .code = DP_SYSTEM, .how = "was killed by signal 9 (Killed)", .again = true, .said = ""},
        "local worker 3 was killed by signal 9 (Killed) again and again, and said nothing");
}
