/* Ranks: workers with data of their own have a slot of their own. There are no shards here: a roster is known at once.
 */
#include <criterion/criterion.h>

#include "server/assign/quorum.h"
#include "server/assign/ranks.h"
#include "tests/unit/support/bare_head.h"
#include "tests/unit/support/leaks.h"

static uint32_t number(const struct bare_head *bare, const struct member *member)
{
    return members_number(&bare->head.members, member);
}

static struct member *join(struct bare_head *bare, uint64_t worker)
{
    struct member *member = bare_head_join(bare, worker, 0);
    head_ranks_deal(&bare->head);
    return member;
}

static void leave(struct bare_head *bare, struct member *member, bool finished)
{
    if (finished)
        head_ranks_finish(&bare->head, member);
    members_remove(&bare->head.members, member);
    head_ranks_deal(&bare->head);
}

Test(ranks, are_given_in_order_and_kept_for_those_that_come_again)
{
    struct bare_head bare;
    dp_error err;
    bare_head_init(&bare, 3, true);
    struct member *a = join(&bare, 1), *b = join(&bare, 2);
    const uint32_t a_number = number(&bare, a), b_number = number(&bare, b);
    cr_assert_eq(bare.ranks.list[0].holder, a_number);
    cr_assert_eq(bare.ranks.list[1].holder, b_number);
    cr_assert_not(bare.ranks.begun, "the third is waited for");
    leave(&bare, a, false);
    cr_assert_eq(bare.ranks.list[0].holder, DEALER_NOBODY);
    struct member *c = join(&bare, 3);
    cr_assert_eq(bare.ranks.list[2].holder, number(&bare, c),
                 "a rank that nobody had comes before one that somebody had");
    cr_assert_eq(head_ranks_admit(&bare.head, &err), DP_OK);
    a = join(&bare, 1);
    cr_assert_eq(number(&bare, a), a_number);
    cr_assert_eq(bare.ranks.list[0].holder, a_number);
    cr_assert(bare.ranks.begun);
    cr_assert_eq(head_ranks_admit(&bare.head, &err), DP_BUSY);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

Test(ranks, that_have_finished_end_the_job_once_all_have)
{
    struct bare_head bare;
    bare_head_init(&bare, 2, true);
    struct member *a = join(&bare, 1), *b = join(&bare, 2);
    leave(&bare, a, true);
    cr_assert_eq(head_ranks_finished(&bare.head), 1);
    cr_assert_eq(bare.said[NEWS_OVER], 0);
    leave(&bare, b, true);
    cr_assert_eq(bare.said[NEWS_OVER], 1);
    cr_assert(bare.head.job.over);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

/* All that was brought is complete when the steps before `go` are, wherever the job begins. */
Test(ranks, of_a_job_that_begins_at_a_later_step)
{
    struct bare_head bare;
    struct head *head = &bare.head;
    bare_head_init(&bare, 2, true);
    head_ranks_stop(head);
    head->global_low = head->job.core.first_step = 30;
    cr_assert_eq(head_ranks_start(head), DP_OK);
    cr_assert_not(head_begun(head));
    cr_assert_eq(bare.ranks.go, 30);
    struct member *a = join(&bare, 1), *b = join(&bare, 2);
    leave(&bare, a, true);
    leave(&bare, b, true);
    cr_assert_eq(bare.said[NEWS_OVER], 1);
    head->global_low++;
    cr_assert(head_begun(head));
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

/* A vacant rank is waited for as long as the stall time-out. */
Test(ranks, that_are_vacant_keep_a_job_from_its_end_for_the_stall_timeout_only)
{
    struct bare_head bare;
    bare_head_init(&bare, 2, true);
    struct member *a = join(&bare, 1), *b = join(&bare, 2);
    leave(&bare, a, false);
    leave(&bare, b, true);
    const uint64_t left_ms = bare.ranks.dealt_ms, timeout_ms = 1000 * bare.opts.stall_timeout_s;
    head_ranks_watch(&bare.head, &(struct news){.kind = NEWS_TICK, .now_ms = left_ms + timeout_ms - 1});
    cr_assert_eq(bare.said[NEWS_OVER], 0);
    head_ranks_watch(&bare.head, &(struct news){.kind = NEWS_TICK, .now_ms = left_ms + timeout_ms});
    cr_assert_eq(bare.said[NEWS_OVER], 1);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}
