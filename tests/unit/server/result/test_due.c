/* The step of the next checkpoint: numbers worked out by hand. */
#include <criterion/criterion.h>

#include "server/result/due.h"
#include "server/step/job.h"

/* 10 training steps an epoch and 35 of them in all; an evaluation behind 10, 20, 30 and 35: steps 10, 21, 32, 38. */
static const struct plan PLAN = {
    .seed = 1, .train_rows = 100, .eval_rows = 50, .batch = 10, .train_steps = 35, .slots = 4};

Test(due, ahead_of_the_shards)
{
    static const uint64_t AHEAD[] = {0, 1, 2, 4, 8, 16, 32, 64, 64, 64};
    for (uint32_t i = 0; i < sizeof AHEAD / sizeof *AHEAD; i++)
        cr_assert_eq(due_ahead(i), AHEAD[i], "%u", i);
    cr_assert_eq(due_ahead(UINT32_MAX), SLICE_VERSIONS);
}

Test(due, soon)
{
    cr_assert_eq(plan_total(&PLAN), 39);
    cr_assert_eq(due_soon(&PLAN, 5, 0), 5);
    cr_assert_eq(due_soon(&PLAN, 5, 1), 6);
    cr_assert_eq(due_soon(&PLAN, 5, 3), 9);
    cr_assert_eq(due_soon(&PLAN, 10, 0), 10); /* an evaluation, at which the shards are */
    cr_assert_eq(due_soon(&PLAN, 9, 1), 11);  /* and one to come */
    cr_assert_eq(due_soon(&PLAN, 37, 1), 39); /* behind the last one is the end */
    cr_assert_eq(due_soon(&PLAN, 5, 7), 39);
    cr_assert_eq(due_soon(&PLAN, 39, 0), 39);
    cr_assert_eq(due_soon(&PLAN, 39, 9), 39);
}

Test(due, multiples)
{
    cr_assert_eq(due_multiple(&PLAN, 4, 0, 0), 4);
    cr_assert_eq(due_multiple(&PLAN, 4, 3, 0), 4);
    cr_assert_eq(due_multiple(&PLAN, 4, 4, 0), 8);    /* there already: it may be late */
    cr_assert_eq(due_multiple(&PLAN, 4, 3, 1), 8);    /* step 4 may be begun */
    cr_assert_eq(due_multiple(&PLAN, 10, 10, 0), 20); /* before the evaluation behind 10 */
    cr_assert_eq(due_multiple(&PLAN, 10, 11, 0), 20);
    cr_assert_eq(due_multiple(&PLAN, 10, 20, 0), 20);        /* 19 training steps and an evaluation */
    cr_assert_eq(due_multiple(&PLAN, 1, 37, 0), UINT64_MAX); /* the end is no multiple's */
    cr_assert_eq(due_multiple(&PLAN, 7, 30, 0), UINT64_MAX); /* 28 are done, and 35 is the end */
    cr_assert_eq(due_multiple(&PLAN, 1000, 0, 0), UINT64_MAX);
    cr_assert_eq(due_multiple(&PLAN, 4, 39, 9), UINT64_MAX);
}

/* Cuts of multiples are at steps that train, and theta has seen just as many. */
Test(due, multiples_are_steps_that_train)
{
    for (uint64_t every = 1; every < 35; every++)
        for (uint64_t low = 0; low < 39; low++) {
            uint64_t next = due_multiple(&PLAN, every, low, 0);
            if (next == UINT64_MAX)
                continue;
            uint64_t step = plan_step_of(&PLAN, next);
            cr_assert(plan_question(&PLAN, step)->commits, "every %d, low %d", (int)every, (int)low);
            cr_assert_eq(plan_trained(&PLAN, step), next);
            cr_assert_gt(step, low);
            cr_assert_eq(next % every, 0);
        }
}
