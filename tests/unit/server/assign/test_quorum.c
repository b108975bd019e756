/* Whether enough workers are there. */
#include <criterion/criterion.h>

#include "server/assign/quorum.h"
#include "tests/unit/support/bare_head.h"
#include "tests/unit/support/leaks.h"

Test(quorum, waits_for_min_workers_and_for_one_at_least)
{
    struct bare_head bare;
    bare_head_init(&bare, 4, false);
    cr_assert_eq(head_missing(&bare.head), 1, "without --min-workers");
    bare.opts.min_workers = 3;
    cr_assert_eq(head_missing(&bare.head), 3);
    bare_head_join(&bare, 1, 0);
    bare_head_join(&bare, 2, 0);
    cr_assert_eq(head_missing(&bare.head), 1);
    cr_assert_not(head_has_enough(&bare.head));
    bare_head_join(&bare, 3, 0);
    bare_head_join(&bare, 4, 0);
    cr_assert(head_has_enough(&bare.head));
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

/* Nobody waits for a worker whose data are through, but somebody must be there. */
Test(quorum, counts_workers_that_have_finished)
{
    struct bare_head bare;
    bare_head_init(&bare, 3, true);
    bare.opts.min_workers = 2;
    bare.ranks.list[0].finished = bare.ranks.list[1].finished = true;
    cr_assert_eq(head_ranks_finished(&bare.head), 2);
    cr_assert_eq(head_missing(&bare.head), 1);
    bare_head_join(&bare, 1, 0);
    cr_assert(head_has_enough(&bare.head));
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}
