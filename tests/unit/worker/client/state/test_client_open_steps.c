/* The next step of a worker while slots commit on arrival. */
#include <criterion/criterion.h>
#include <string.h>

#include "worker/client/state.h"
#include "worker/client/step.h"

enum { SLOTS = 4, STALENESS = 3 };

static const struct plan PLAN = {.train_rows = 8, .batch = 8, .train_steps = 100, .slots = SLOTS};

static struct slot_set set_of(uint32_t bits)
{
    struct slot_set set = {0};
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        if (bits >> slot & 1)
            slot_set_add(&set, slot);
    return set;
}

static void assign_at(struct duty *duty, uint64_t floor, uint64_t from, uint32_t bits, uint64_t extra_step,
                      uint32_t extra_bits)
{
    uint32_t slots[SLOT_SET_MAX], extras[SLOT_SET_MAX];
    struct slot_set set = set_of(bits), extra = set_of(extra_bits);
    struct duty_assign message = {.from_step = from, .slots = slots, .extra_step = extra_step, .extra_slots = extras};
    message.slot_count = slot_set_list(&set, slots);
    message.extra_count = slot_set_list(&extra, extras);
    duty_take(duty, &message, floor);
}

static void assign(struct duty *duty, uint64_t from, uint32_t bits, uint64_t extra_step, uint32_t extra_bits)
{
    assign_at(duty, 0, from, bits, extra_step, extra_bits);
}

static void done(struct open_steps *a, uint64_t step, uint32_t bits)
{
    struct slot_set set = set_of(bits);
    open_steps_done(a, step, &set);
}

static uint64_t next(const struct open_steps *a, const struct duty *duty)
{
    return open_steps_next(a, duty, &PLAN);
}

/* Steps 0 .. 5 done one after the other, of slots 0 and 1. */
static void walk(struct open_steps *a, struct duty *duty)
{
    *a = (struct open_steps){0};
    *duty = (struct duty){0};
    assign(duty, 0, 3, 0, 0);
    for (uint64_t step = 0; step < 6; step++) {
        open_steps_begin(a, step, STALENESS);
        cr_assert_eq(next(a, duty), step);
        done(a, step, 3);
        cr_assert_eq(next(a, duty), step + 1);
    }
}

Test(client_open_steps, goes_on_when_nothing_is_owed)
{
    struct open_steps a;
    struct duty duty;
    walk(&a, &duty);
    cr_assert_eq(open_steps_floor(&a), 5 - STALENESS);
    open_steps_complete(&a, 4);
    cr_assert_eq(open_steps_floor(&a), 4);
    open_steps_complete(&a, 3);
    cr_assert_eq(open_steps_floor(&a), 4, "never back");
}

Test(client_open_steps, goes_back_to_what_others_have_left)
{
    struct open_steps a;
    struct duty duty;
    walk(&a, &duty);
    assign(&duty, 4, 7, 3, 4); /* slot 2 is ours from step 4 on, and at step 3 */
    cr_assert_eq(next(&a, &duty), 3);
    open_steps_begin(&a, 3, STALENESS);
    cr_assert_eq(a.top, 5);
    done(&a, 3, 4);
    cr_assert_eq(next(&a, &duty), 4);
    done(&a, 4, 4); /* somebody had handed it in: the answer to the pull said so */
    cr_assert_eq(next(&a, &duty), 5);
    done(&a, 5, 4);
    cr_assert_eq(next(&a, &duty), 6);
}

Test(client_open_steps, what_the_head_asks_for_again_is_found_out_anew)
{
    struct open_steps a;
    struct duty duty;
    walk(&a, &duty);
    struct slot_set both = set_of(3);
    assign(&duty, 4, 3, 3, 3);
    cr_assert_eq(next(&a, &duty), 6);
    open_steps_asked(&a, 3, &both);
    cr_assert_eq(next(&a, &duty), 3);
    open_steps_complete(&a, 4);
    cr_assert_eq(next(&a, &duty), 6, "the step is complete: whoever asked was late");
}

/* After a step that commits once nothing before is open. */
/* Others have done the step that it would have done next: it must not ask for that one for ever. */
Test(client_open_steps, who_is_left_behind_goes_on_from_the_first_open_step)
{
    struct open_steps a;
    struct duty duty;
    walk(&a, &duty);
    open_steps_complete(&a, 8);
    cr_assert_eq(next(&a, &duty), 8);
    open_steps_begin(&a, 8, STALENESS);
    cr_assert_eq(open_steps_floor(&a), 8);
    cr_assert_eq(next(&a, &duty), 8);
    done(&a, 8, 3);
    cr_assert_eq(next(&a, &duty), 9);
}

Test(client_open_steps, what_a_lost_connection_may_have_taken_is_found_out_anew)
{
    struct open_steps a;
    struct duty duty;
    walk(&a, &duty);
    open_steps_complete(&a, 3);
    open_steps_doubt(&a);
    for (uint64_t step = 3; step < 6; step++) {
        cr_assert_eq(next(&a, &duty), step);
        done(&a, step, 3);
    }
    cr_assert_eq(next(&a, &duty), 6);
}

Test(client_open_steps, a_step_that_commits_once_ends_what_was_before)
{
    struct open_steps a;
    struct duty duty;
    walk(&a, &duty);
    open_steps_begin(&a, 6, 0);
    open_steps_begin(&a, 7, STALENESS);
    cr_assert_eq(open_steps_floor(&a), 7);
    assign(&duty, 5, 15, 5, 15);
    cr_assert_eq(next(&a, &duty), 7);
}

Test(client_open_steps, a_late_comer_looks_at_all_that_may_be_open)
{
    struct open_steps a = {0};
    struct duty duty = {0};
    assign(&duty, 10, 3, 0, 0);
    open_steps_begin(&a, 10, STALENESS);
    open_steps_begin(&a, 12, STALENESS);
    cr_assert_eq(next(&a, &duty), 10);
    done(&a, 10, 15);
    cr_assert_eq(next(&a, &duty), 11);
    open_steps_begin(&a, 40, STALENESS);
    cr_assert_eq(next(&a, &duty), 40 - STALENESS, "what is further back is complete");
}

/* Steps from before a wider window are complete, whoever computed them: nobody goes back to them. */
Test(client_open_steps, a_change_of_consistency_is_a_barrier)
{
    struct open_steps a;
    struct duty duty;
    walk(&a, &duty);
    assign(&duty, 4, 15, 0, 0);
    open_steps_begin(&a, 6, 2 * STALENESS);
    cr_assert_eq(open_steps_floor(&a), 6);
    cr_assert_eq(next(&a, &duty), 6);
    done(&a, 6, 15);
    cr_assert_eq(next(&a, &duty), 7);
    open_steps_begin(&a, 7, 0);
    open_steps_begin(&a, 8, STALENESS);
    cr_assert_eq(next(&a, &duty), 8);
}

/* With its session a worker has lost theta of step 6, which was in shared memory. Assignments come before it is there
 * again: those of the steps before, which may be open as well, are not over. */
Test(client_open_steps, what_is_assigned_while_theta_is_gone_is_kept)
{
    struct dp_client client = {0};
    struct slot_set owed;
    struct open_steps *a = &client.open;
    walk(a, &client.duty);
    open_steps_begin(a, 6, STALENESS);
    open_steps_doubt(a);
    client.duty = (struct duty){0};
    client.plane.theta = (struct theta){.valid = false, .step = 6, .want = 6};
    cr_assert_eq(step_floor(&client), 6 - STALENESS);
    assign_at(&client.duty, step_floor(&client), 3, 1, 3, 2);
    assign_at(&client.duty, step_floor(&client), 4, 1, 3, 15);
    assign_at(&client.duty, step_floor(&client), 5, 2, 4, 8);
    duty_at(&client.duty, 3, &owed);
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        cr_assert(slot_set_has(&owed, slot), "slot %u of the first open step", slot);
    cr_assert_eq(next(a, &client.duty), 3);
}
