/* The list of a shard's counters. */
#include <criterion/criterion.h>

#include <string.h>

#include "server/shard/counters.h"

#define NOTHING(...)
#define FILL(name, ...) counter_add(&counters.name, 7);
#define FILL_TIME(name, meaning) counter_add(&counters.name##_ns, 7);
#define ONE(...) +1

/* Those of which a shard that begins anew has none. */
static bool is_level(const char *name)
{
    static const char *const LEVELS[] = {"low", "rows", "row_bytes", "list_bytes", "past_bytes"};
    for (size_t i = 0; i < sizeof LEVELS / sizeof LEVELS[0]; i++)
        if (strcmp(LEVELS[i], name) == 0)
            return true;
    return false;
}

Test(shard_counters, a_reset_sets_levels_to_0_and_keeps_sums_and_times)
{
    static struct shard_counters counters;
    int levels = 0 SHARD_COUNTERS(NOTHING, ONE, NOTHING, NOTHING);
    cr_assert_eq(levels, 5);
    SHARD_COUNTERS(FILL, FILL, FILL_TIME, NOTHING)
    counters_reset(&counters);
#define CHECK(name, ...) cr_assert_eq(counter_get(&counters.name), is_level(#name) ? 0U : 7U, #name);
#define CHECK_TIME(name, meaning) cr_assert_eq(counter_get(&counters.name##_ns), 7, #name);
    SHARD_COUNTERS(CHECK, CHECK, CHECK_TIME, NOTHING)
}
