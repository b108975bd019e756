/* The gate of a shard: which steps may commit while it is free, before a barrier, and by the head's GO. Its use by a
 * shard is tested in test_roster.c, test_control.c and test_scenarios.c. */
#include <criterion/criterion.h>

#include "server/shard/gate.h"
#include "server/shard/shard.h"
#include "tests/unit/support/leaks.h"

Test(shard_gate, lets_all_while_it_is_free_and_nothing_from_a_barrier_on)
{
    struct gate gate;
    gate_init(&gate);
    cr_assert(gate_lets(&gate, 0) && gate_lets(&gate, UINT64_MAX - 1));
    gate.barrier = 3;
    cr_assert(gate_lets(&gate, 2));
    cr_assert_not(gate_lets(&gate, 3));
    gate.barrier = UINT64_MAX;
    cr_assert(gate_lets(&gate, 3));
    gate_fini(&gate);
}

Test(shard_gate, waits_for_the_heads_go_which_is_never_taken_back)
{
    struct gate gate;
    gate_init(&gate);
    cr_assert_eq(gate_attend(&gate, 5, 0), DP_OK);
    cr_assert_not(gate_lets(&gate, 0), "nobody has said GO");
    for (int k = 0; k < 5; k++)
        cr_assert_not(gate.live[k], "all slots are void at first");
    gate_go(&gate, 2);
    cr_assert(gate_lets(&gate, 1));
    cr_assert_not(gate_lets(&gate, 2));
    gate_go(&gate, 1);
    cr_assert(gate_lets(&gate, 1), "never back");
    gate.barrier = 1;
    cr_assert(gate_lets(&gate, 0));
    cr_assert_not(gate_lets(&gate, 1), "a barrier holds back what has its GO");
    gate_fini(&gate);
    cr_assert(gate_lets(&gate, 7), "free again");
    ASSERT_NO_LEAKS();
}

/* As the shards know, no step before the first is left to be told of. */
Test(shard_gate, begins_at_the_jobs_first_step)
{
    struct gate gate;
    gate_init(&gate);
    cr_assert_eq(gate_attend(&gate, 5, 70), DP_OK);
    cr_assert(gate_lets(&gate, 69));
    cr_assert_not(gate_lets(&gate, 70), "nobody has said GO");
    cr_assert_eq(gate.told_ready, 70);
    gate_go(&gate, 71);
    cr_assert(gate_lets(&gate, 70));
    cr_assert_not(gate_lets(&gate, 71));
    gate_fini(&gate);
}

Test(shard_gate, knows_how_many_slots_the_last_drop_left_out)
{
    struct gate gate;
    gate_init(&gate);
    cr_assert_eq(gate_attend(&gate, 5, 0), DP_OK);
    gate.drop_step = 4;
    gate.drop_count = 2;
    cr_assert_eq(gate_dropped(&gate, 4), 2);
    cr_assert_eq(gate_dropped(&gate, 5), 0);
    gate.told_few = true;
    gate_go(&gate, 5);
    cr_assert_not(gate.told_few, "the next step may be told");
    gate_fini(&gate);
}

/* Its START failed for want of memory; the head's next words are under way. */
Test(shard_gate, takes_no_roster_where_the_job_could_not_start)
{
    static const uint8_t LIVE[] = {1, 1};
    static struct shard_counters counters;
    struct shard shard;
    shard_init(&shard, 0, &counters, &(struct shard_calls){0});
    gate_roster(&shard, 1, LIVE);
    cr_assert_eq(shard.gate.coming_number, 0);
    cr_assert_not(shard.gate.on);
    shard_fini(&shard);
    ASSERT_NO_LEAKS();
}
