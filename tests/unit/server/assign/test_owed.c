/* Slots that the shards are owed: the answers of all, put together. */
#include <criterion/criterion.h>

#include "server/assign/owed.h"
#include "tests/unit/support/bare_head.h"
#include "tests/unit/support/leaks.h"

static uint32_t answered;

static void then(struct head *head)
{
    (void)head;
    answered++;
}

/* Asks a number of shards, which are not there. */
static void ask(struct bare_head *bare, uint64_t step, uint32_t shards)
{
    answered = 0;
    head_owed_ask(&bare->head, step, then);
    bare->owed.missing = bare->owed.holding = shards;
}

static void answer(struct bare_head *bare, uint64_t step, uint32_t *slots, uint32_t count)
{
    const struct event event = {.kind = EVENT_OWED, .owed = {.step = step, .count = count, .slots = slots}};
    head_on_owed(&bare->head, &event);
}

Test(owed, are_the_slots_that_any_shard_lacks_told_once)
{
    struct bare_head bare;
    uint32_t slots[8], one[] = {1, 6}, other[] = {1, 2};
    bare_head_init(&bare, 8, false);
    ask(&bare, 5, 3);
    answer(&bare, 5, one, 2);
    answer(&bare, 5, NULL, 0);
    cr_assert_eq(answered, 0);
    answer(&bare, 5, other, 2);
    cr_assert_eq(answered, 1);
    cr_assert_not(bare.owed.passed);
    cr_assert_eq(bare.owed.shards, 2, "that are owed any");
    cr_assert_eq(head_owed_list(&bare.head, slots), 3);
    cr_assert_eq(slots[0], 1);
    cr_assert_eq(slots[1], 2);
    cr_assert_eq(slots[2], 6);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}

Test(owed, of_another_step_do_not_count_but_the_answer_does)
{
    struct bare_head bare;
    uint32_t slots[8], late[] = {3}, at[] = {4};
    bare_head_init(&bare, 8, false);
    ask(&bare, 5, 2);
    answer(&bare, 6, late, 1);
    answer(&bare, 5, at, 1);
    cr_assert_eq(answered, 1);
    cr_assert(bare.owed.passed);
    cr_assert_eq(head_owed_list(&bare.head, slots), 1);
    cr_assert_eq(slots[0], 4);
    ask(&bare, 6, 1);
    cr_assert_not(bare.owed.passed, "a new question begins with nothing");
    cr_assert_eq(head_owed_list(&bare.head, slots), 0);
    bare_head_fini(&bare);
    ASSERT_NO_LEAKS();
}
