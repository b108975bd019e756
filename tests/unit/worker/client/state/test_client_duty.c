/* Slots that are owed at a step, from the assignments of the head. */
#include <criterion/criterion.h>

#include "common/base/util.h"
#include "worker/client/state/duty.h"
#include "worker/client/state/slot_set.h"

/* A set as a word: slots 0..63. */
static uint64_t duty_word(const struct duty *duty, uint64_t step)
{
    struct slot_set set;
    duty_at(duty, step, &set);
    return set.words[0];
}

static void assign(struct duty *duty, uint64_t at, uint64_t from, uint32_t slot, uint64_t extra_step, int extra)
{
    uint32_t extra_slot = (uint32_t)extra;
    duty_take(duty,
              &(struct duty_assign){.from_step = from,
                                    .slots = &slot,
                                    .slot_count = 1,
                                    .extra_step = extra_step,
                                    .extra_slots = &extra_slot,
                                    .extra_count = extra >= 0},
              at);
}

Test(duty, nothing_is_owed_before_the_first_assignment)
{
    struct duty duty = {0};
    cr_assert_eq(duty_word(&duty, 0), 0);
    assign(&duty, 0, 5, 1, 0, -1);
    cr_assert_eq(duty_word(&duty, 4), 0);
    cr_assert_eq(duty_word(&duty, 5), 1 << 1);
    cr_assert_eq(duty_word(&duty, 1000), 1 << 1);
}

Test(duty, a_later_assignment_takes_over_at_its_step)
{
    struct duty duty = {0};
    assign(&duty, 0, 0, 1, 0, -1);
    assign(&duty, 0, 3, 2, 0, -1);
    assign(&duty, 0, 6, 4, 0, -1);
    cr_assert_eq(duty_word(&duty, 2), 1 << 1);
    cr_assert_eq(duty_word(&duty, 3), 1 << 2);
    cr_assert_eq(duty_word(&duty, 6), 1 << 4);
    assign(&duty, 4, 5, 7, 0, -1);
    cr_assert_eq(duty_word(&duty, 4), 1 << 2, "the one in force stays");
    cr_assert_eq(duty_word(&duty, 6), 1 << 7, "what was said of step 6 before is overridden");
}

Test(duty, an_assignment_for_a_past_step_holds_at_once)
{
    struct duty duty = {0};
    assign(&duty, 9, 2, 3, 0, -1);
    cr_assert_eq(duty_word(&duty, 9), 1 << 3);
}

Test(duty, extras_hold_at_one_step_and_add_up)
{
    struct duty duty = {0};
    assign(&duty, 0, 0, 0, 4, 5);
    assign(&duty, 0, 0, 0, 2, 6);
    assign(&duty, 0, 0, 0, 4, 7);
    cr_assert_eq(duty_word(&duty, 2), 1 | 1 << 6);
    cr_assert_eq(duty_word(&duty, 3), 1);
    cr_assert_eq(duty_word(&duty, 4), 1 | 1 << 5 | 1 << 7);
    assign(&duty, 5, 0, 0, 4, 1);
    cr_assert_eq(duty.extra_count, 0, "extras of past steps are forgotten");
}

Test(duty, lists_are_bounded)
{
    struct duty duty = {0};
    for (uint32_t i = 0; i < 3 * DUTY_ASSIGNS_MAX; i++)
        assign(&duty, 0, i, i % 8, 100 - i, (int)(i % 8));
    cr_assert_eq(duty.assign_count, DUTY_ASSIGNS_MAX);
    cr_assert_eq(duty.extra_count, DUTY_EXTRAS_MAX);
    for (size_t i = 1; i < duty.extra_count; i++)
        cr_assert_lt(duty.extras[i - 1].step, duty.extras[i].step);
    cr_assert_eq(duty_word(&duty, 0) & 1, 1, "the assignment in force is kept");
    assign(&duty, 200, 200, 3, 0, -1);
    cr_assert_eq(duty_word(&duty, 200), 1 << 3);
}

Test(duty, slots_out_of_range_are_ignored)
{
    struct duty duty = {0};
    uint32_t slots[] = {1, SLOT_SET_MAX, 5000, UINT32_MAX};
    duty_take(&duty, &(struct duty_assign){.slots = slots, .slot_count = ARRAY_LEN(slots)}, 0);
    struct slot_set set;
    duty_at(&duty, 0, &set);
    static uint32_t list[SLOT_SET_MAX];
    cr_assert_eq(slot_set_list(&set, list), 1);
    cr_assert_eq(list[0], 1);
}

Test(slot_set, first_and_list_cross_words)
{
    struct slot_set set = {0};
    static const uint32_t SLOTS[] = {0, 63, 64, 127, 4095};
    for (size_t i = 0; i < ARRAY_LEN(SLOTS); i++)
        slot_set_add(&set, SLOTS[i]);
    static uint32_t list[SLOT_SET_MAX];
    cr_assert_eq(slot_set_list(&set, list), ARRAY_LEN(SLOTS));
    cr_assert_arr_eq(list, SLOTS, sizeof SLOTS);
    cr_assert_eq(slot_set_first(&set, 1, SLOT_SET_MAX), 63);
    cr_assert_eq(slot_set_first(&set, 65, 100), 100);
    cr_assert_eq(slot_set_first(&set, 100, 127), 127);
    struct slot_set other = {0};
    slot_set_add(&other, 64);
    slot_set_subtract(&set, &other);
    cr_assert_eq(slot_set_list(&set, list), 4);
    slot_set_intersect(&set, &other);
    cr_assert(slot_set_empty(&set));
}
