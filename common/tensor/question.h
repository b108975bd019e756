/* The question that a step asks of each slot, and what becomes of the answers, which are summed over slots. A question
 * is a row of the table in question.c; plan.h says which one a step asks. Users go by its properties: they never ask
 * which question it is, except where it is answered (worker/model).
 * Thread: any. */
#ifndef DP_COMMON_TENSOR_QUESTION_H
#define DP_COMMON_TENSOR_QUESTION_H

#include <stdbool.h>

/* As dp_task_kind of the public API has them. */
enum question_number { QUESTION_GRADIENT, QUESTION_LOSS };
enum { QUESTIONS = QUESTION_LOSS + 1 };

/* The set that a step's rows are of. */
enum question_rows { ROWS_TRAIN, ROWS_EVAL };
enum { ROW_SETS = ROWS_EVAL + 1 };

struct question {
    enum question_number number;
    enum question_rows rows;
    const char *a_step; /* for messages, before "push" or "task": "a training" */
    const char *pushes; /* beside metrics, as long as theta: "gradient"; NULL: nothing */
    bool commits;       /* shards make another theta of the sum; else theta stands still */
    bool counts;        /* as a training step: schedules, epochs and the loss that is shown go by it */
    bool droppable;     /* a sum without some slots will do: the head may leave them out */
    bool timed;         /* the speed of workers is measured by it */
};

const struct question *question_of(enum question_number number);

#endif
