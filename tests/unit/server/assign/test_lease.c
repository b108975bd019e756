/* Members that are silent for longer than their lease are lost, unless it was the server that slept. */
#include <criterion/criterion.h>

#include "server/assign/lease.h"
#include "tests/unit/support/bare_head.h"
#include "tests/unit/support/leaks.h"

static void tick(struct bare_head *bare, uint64_t now_ms)
{
    head_lease_watch(&bare->head, &(struct news){.kind = NEWS_TICK, .now_ms = now_ms});
}

Test(lease, runs_out_for_a_member_that_is_silent)
{
    struct bare_head bare;
    bare_head_init(&bare, 4, false);
    struct member *silent = bare_head_join(&bare, 1, 20000), *heard = bare_head_join(&bare, 2, 20000);
    ticks_start(&bare.lease.ticks, 20000);
    for (uint64_t now_ms = 21000; now_ms <= 30000; now_ms += 1000)
        tick(&bare, now_ms);
    cr_assert_eq(bare.said[NEWS_LEFT], 0);
    heard->last_seen_ms = 30000;
    tick(&bare, 30001);
    cr_assert_eq(bare.said[NEWS_LEFT], 1);
    cr_assert_eq(silent->state, MEMBER_NONE);
    cr_assert_eq(heard->state, MEMBER_JOINED);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

Test(lease, does_not_run_while_the_server_sleeps)
{
    struct bare_head bare;
    bare_head_init(&bare, 4, false);
    struct member *member = bare_head_join(&bare, 1, 20000);
    bare.head.moved_ms = 20000;
    ticks_start(&bare.lease.ticks, 20000);
    tick(&bare, 50000);
    cr_assert_eq(bare.said[NEWS_LEFT], 0);
    cr_assert_eq(member->last_seen_ms, 50000);
    cr_assert_eq(bare.head.moved_ms, 50000, "nor does the open step wait");
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

Test(lease, finds_whether_the_job_stands_still_from_tick_to_tick)
{
    struct bare_head bare;
    bare_head_init(&bare, 4, false);
    ticks_start(&bare.lease.ticks, 20000);
    bare.head.global_low = 7;
    tick(&bare, 20250);
    cr_assert_not(bare.lease.stands_still);
    head_lease_alone(&bare.head, &(struct news){.kind = NEWS_TICK, .now_ms = 20250});
    cr_assert_not(bare.lease.alone, "the last steps' workers may have left before the shards have told");
    tick(&bare, 20500);
    cr_assert(bare.lease.stands_still);
    head_lease_alone(&bare.head, &(struct news){.kind = NEWS_TICK, .now_ms = 20500});
    cr_assert(bare.lease.alone);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}
