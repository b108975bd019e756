/* The table of questions. Thread: any. */
#include "common/tensor/question.h"

#include <assert.h>
#include <stddef.h>

#include "common/base/util.h"

static const struct question TABLE[QUESTIONS] = {
    [QUESTION_GRADIENT] = {.number = QUESTION_GRADIENT,
                           .rows = ROWS_TRAIN,
                           .a_step = "a training",
                           .pushes = "gradient",
                           .commits = true,
                           .counts = true,
                           .droppable = true,
                           .timed = true},
    [QUESTION_LOSS] = {.number = QUESTION_LOSS, .rows = ROWS_EVAL, .a_step = "an evaluation"},
};

const struct question *question_of(enum question_number number)
{
    assert((size_t)number < ARRAY_LEN(TABLE));
    return &TABLE[number];
}
