/* The table of questions, and the question of each step of a plan. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/tensor/plan.h"

Test(question, rows_are_found_by_their_number)
{
    for (int i = 0; i < QUESTIONS; i++)
        cr_assert_eq((int)question_of((enum question_number)i)->number, i);
}

/* Without an answer as long as theta there is nothing to make another one of, and no training step. */
Test(question, properties_agree)
{
    for (int i = 0; i < QUESTIONS; i++) {
        const struct question *asks = question_of((enum question_number)i);
        cr_assert(!asks->commits || asks->pushes, "%s step", asks->a_step);
        cr_assert(!asks->counts || asks->commits, "%s step", asks->a_step);
        cr_assert(!asks->droppable || asks->commits, "%s step", asks->a_step);
        cr_assert(!asks->timed || asks->rows == ROWS_TRAIN, "%s step", asks->a_step);
    }
}

Test(question, gradients_and_losses)
{
    const struct question *gradient = question_of(QUESTION_GRADIENT), *loss = question_of(QUESTION_LOSS);
    cr_assert(gradient->commits && gradient->counts && gradient->droppable && gradient->timed);
    cr_assert(gradient->rows == ROWS_TRAIN && strcmp(gradient->pushes, "gradient") == 0);
    cr_assert_str_eq(gradient->a_step, "a training");
    cr_assert(!loss->commits && !loss->counts && !loss->droppable && !loss->timed);
    cr_assert(loss->rows == ROWS_EVAL && !loss->pushes);
    cr_assert_str_eq(loss->a_step, "an evaluation");
}

/* Epochs of 3 steps, each with an evaluation behind it, and one behind the last step. */
Test(question, steps_of_a_plan)
{
    const struct plan plan = {.train_rows = 5, .eval_rows = 2, .batch = 2, .train_steps = 4, .slots = 2};
    static const char EXPECTED[] = "gggege"; /* gradient, evaluation */
    cr_assert_eq(plan_total(&plan), strlen(EXPECTED));
    for (uint64_t step = 0; step < plan_total(&plan); step++) {
        const struct question *asks = plan_question(&plan, step);
        cr_assert_eq(asks, question_of(EXPECTED[step] == 'g' ? QUESTION_GRADIENT : QUESTION_LOSS));
        cr_assert_eq(asks, plan_at(&plan, step).asks);
    }
}
