/* The plan of a job: which samples each slot of each step holds. All of it is a pure function of a few numbers, so
 * nothing of the data order is ever stored or sent.
 *
 * The steps of a job (`step`, what the wire and the step windows count) are training steps and, where there is an
 * evaluation set, one evaluation step after each epoch's last training step and one after the job's last. `train_step`
 * counts training steps only: schedules, bias correction and the RNG go by it, so evaluation never changes theta.
 *
 * Slot k of a step of n rows holds rows [floor(k*n/K), floor((k+1)*n/K)) of the step.
 * Thread: any. */
#ifndef DP_COMMON_TENSOR_PLAN_H
#define DP_COMMON_TENSOR_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/tensor/question.h"

struct plan {
    uint64_t seed;
    uint64_t train_rows;  /* 1..2^56 */
    uint64_t eval_rows;   /* 0: no evaluation steps; at most 2^56 */
    uint64_t batch;       /* rows of a minibatch, 1..train_rows; an epoch's last one may be smaller */
    uint64_t train_steps; /* training steps of the job, 1..2^56 */
    uint32_t slots;       /* K, >= 1 */
    /* Rows of a block and blocks of a window, for data that are held by blocks; 0: an epoch's order is one permutation
     * of all rows. Else it is a permutation of the blocks, cut into windows, and one of the rows of each window; the
     * rows behind the last whole block come last. */
    uint64_t block_rows;
    uint32_t window_blocks;
};

struct plan_step {
    const struct question *asks;
    uint64_t train_step; /* training steps before this one */
    uint64_t epoch;      /* from 0; an evaluation belongs to the epoch that it ends */
    uint64_t first;      /* offset of the step's rows in the epoch's order (train) or in the evaluation set */
    uint64_t rows;       /* n_t */
};

/* Checks the ranges stated above. DP_USAGE. */
DP_MUST_CHECK dp_err plan_check(const struct plan *plan, dp_error *err);
/* ceil(train_rows / batch). */
uint64_t plan_steps_per_epoch(const struct plan *plan);
/* Steps of the job, evaluation steps included. Steps are numbered 0 .. plan_total - 1. */
uint64_t plan_total(const struct plan *plan);
/* The question and place of step `step` < plan_total. */
struct plan_step plan_at(const struct plan *plan, uint64_t step);
/* The step that is training step `train_step`; plan_total for those beyond the last. */
uint64_t plan_step_of(const struct plan *plan, uint64_t train_step);
/* Training steps before step `step` <= plan_total. */
uint64_t plan_trained(const struct plan *plan, uint64_t step);
/* The question alone. */
const struct question *plan_question(const struct plan *plan, uint64_t step);

/* Rows [*ret_first, *ret_first + *ret_count) of the step that slot k < slots holds; the count may be 0. */
void plan_slot(const struct plan *plan, const struct plan_step *at, uint32_t k, uint64_t *ret_first,
               uint64_t *ret_count);
/* True if slot k of the step has no rows: it is complete when its step opens. */
bool plan_slot_empty(const struct plan *plan, const struct plan_step *at, uint32_t k);
/* Data rows of positions [first, first + count) of the step, in order, to rows[count]. Training steps go through the
 * epoch's permutation, except that a full batch (batch == train_rows) and evaluation steps keep the order of the data.
 */
void plan_rows(const struct plan *plan, const struct plan_step *at, uint64_t first, uint64_t count, uint64_t *rows);

#endif
