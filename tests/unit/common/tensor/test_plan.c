/* Promises of the plan: every row once per epoch, whatever the batch, the slots and the length of the job. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/util.h"
#include "common/tensor/plan.h"

static struct plan plan_of(uint64_t rows, uint64_t eval_rows, uint64_t batch, uint64_t steps, uint32_t slots)
{
    return (struct plan){
        .seed = 3, .train_rows = rows, .eval_rows = eval_rows, .batch = batch, .train_steps = steps, .slots = slots};
}

/* Adds one to seen[row] for each row of the step, slot by slot; checks that slots are contiguous and balanced. */
static void count_rows(const struct plan *plan, const struct plan_step *at, unsigned char *seen)
{
    uint64_t next = 0;
    AUTOFREE uint64_t *rows = mem_array(at->rows, sizeof *rows), *whole = mem_array(at->rows, sizeof *whole);
    plan_rows(plan, at, 0, at->rows, whole);
    for (uint32_t k = 0; k < plan->slots; k++) {
        uint64_t first, count;
        plan_slot(plan, at, k, &first, &count);
        cr_assert_eq(first, next);
        cr_assert(count == at->rows / plan->slots || count == at->rows / plan->slots + 1);
        cr_assert_eq(plan_slot_empty(plan, at, k), count == 0);
        plan_rows(plan, at, first, count, rows);
        cr_assert_arr_eq(rows, whole + first, count * sizeof *rows);
        for (uint64_t i = 0; i < count; i++)
            seen[rows[i]]++;
        next = first + count;
    }
    cr_assert_eq(next, at->rows);
}

static void expect_all(unsigned char *seen, uint64_t n, const char *what)
{
    for (uint64_t i = 0; i < n; i++)
        cr_assert_eq(seen[i], 1, "row %lu seen %d times in %s", (unsigned long)i, seen[i], what);
    memset(seen, 0, n);
}

/* Walks a whole job: kinds in order, train_step without gaps, each epoch covers the data once, evaluations likewise. */
static void walk(const struct plan *plan)
{
    dp_error err;
    cr_assert_eq(plan_check(plan, &err), DP_OK);
    uint64_t total = plan_total(plan), per_epoch = plan_steps_per_epoch(plan), train = 0, evals = 0;
    AUTOFREE unsigned char *seen = mem_array_zero(plan->train_rows, 1);
    AUTOFREE unsigned char *eval_seen = mem_array_zero(plan->eval_rows, 1);
    bool eval_due = false;
    for (uint64_t step = 0; step < total; step++) {
        struct plan_step at = plan_at(plan, step);
        cr_assert_eq(at.asks->number, eval_due ? QUESTION_LOSS : QUESTION_GRADIENT, "step %lu", (unsigned long)step);
        cr_assert_eq(at.train_step, train);
        if (at.asks->rows == ROWS_EVAL) {
            cr_assert_eq(at.epoch, (train - 1) / per_epoch);
            cr_assert_eq(at.first, 0);
            count_rows(plan, &at, eval_seen);
            expect_all(eval_seen, plan->eval_rows, "an evaluation");
            evals++;
            eval_due = false;
            continue;
        }
        cr_assert_eq(at.epoch, train / per_epoch);
        cr_assert(at.rows >= 1 && at.rows <= plan->batch);
        count_rows(plan, &at, seen);
        train++;
        if (train % per_epoch == 0)
            expect_all(seen, plan->train_rows, "an epoch");
        eval_due = plan->eval_rows && (train % per_epoch == 0 || train == plan->train_steps);
    }
    cr_assert_eq(train, plan->train_steps);
    cr_assert_eq(total, train + evals);
    cr_assert_not(eval_due);
    for (uint64_t i = 0; i < plan->train_rows; i++)
        cr_assert_leq(seen[i], 1, "a partial epoch repeats row %lu", (unsigned long)i);
}

Test(plan, whole_epochs)
{
    struct plan plan = plan_of(1000, 0, 100, 30, 8);
    cr_assert_eq(plan_steps_per_epoch(&plan), 10);
    cr_assert_eq(plan_total(&plan), 30);
    walk(&plan);
}

Test(plan, partial_last_batch)
{
    struct plan plan = plan_of(1437, 360, 64, 46, 8);
    cr_assert_eq(plan_steps_per_epoch(&plan), 23);
    cr_assert_eq(plan_total(&plan), 48);
    cr_assert_eq(plan_at(&plan, 22).rows, 1437 - 22 * 64);
    cr_assert_eq(plan_at(&plan, 22).asks->number, QUESTION_GRADIENT);
    cr_assert_eq(plan_at(&plan, 23).asks->number, QUESTION_LOSS);
    cr_assert_eq(plan_at(&plan, 23).train_step, 23);
    cr_assert_eq(plan_at(&plan, 24).asks->number, QUESTION_GRADIENT);
    cr_assert_eq(plan_at(&plan, 47).asks->number, QUESTION_LOSS);
    walk(&plan);
}

Test(plan, job_ends_within_an_epoch)
{
    struct plan plan = plan_of(100, 10, 30, 6, 3); /* epochs of 4 steps: 4 + eval + 2 + eval */
    cr_assert_eq(plan_total(&plan), 8);
    struct plan_step last = plan_at(&plan, 7);
    cr_assert_eq(last.asks->number, QUESTION_LOSS);
    cr_assert_eq(last.epoch, 1);
    cr_assert_eq(last.train_step, 6);
    walk(&plan);
}

Test(plan, job_shorter_than_an_epoch)
{
    struct plan plan = plan_of(100, 10, 7, 1, 2);
    cr_assert_eq(plan_total(&plan), 2);
    walk(&plan);
}

Test(plan, more_slots_than_rows)
{
    struct plan plan = plan_of(5, 3, 2, 9, 16);
    struct plan_step at = plan_at(&plan, 0);
    uint32_t empty = 0;
    for (uint32_t k = 0; k < 16; k++)
        empty += plan_slot_empty(&plan, &at, k);
    cr_assert_eq(empty, 14);
    walk(&plan);
}

Test(plan, full_batch_keeps_the_order_of_the_data)
{
    struct plan plan = plan_of(50, 20, 50, 3, 4);
    struct plan_step train = plan_at(&plan, 2), eval = plan_at(&plan, 1);
    uint64_t rows[50];
    plan_rows(&plan, &train, 10, 40, rows);
    for (uint64_t i = 0; i < 40; i++)
        cr_assert_eq(rows[i], 10 + i);
    cr_assert_eq(eval.asks->number, QUESTION_LOSS);
    plan_rows(&plan, &eval, 5, 15, rows);
    for (uint64_t i = 0; i < 15; i++)
        cr_assert_eq(rows[i], 5 + i);
    walk(&plan);
}

Test(plan, epochs_and_seeds_shuffle_differently)
{
    struct plan plan = plan_of(1000, 0, 500, 4, 8), other = plan;
    other.seed++;
    uint64_t a[500], b[500], c[500];
    struct plan_step first = plan_at(&plan, 0), next = plan_at(&plan, 2);
    plan_rows(&plan, &first, 0, 500, a);
    plan_rows(&plan, &next, 0, 500, b);
    plan_rows(&other, &first, 0, 500, c);
    cr_assert_arr_neq(a, b, sizeof a);
    cr_assert_arr_neq(a, c, sizeof a);
}

/* Shuffled order is part of a job's result: these values must never change. */
Test(plan, order_is_pinned)
{
    struct plan plan = plan_of(1000, 0, 100, 10, 8);
    struct plan_step at = plan_at(&plan, 3);
    static const uint64_t PINNED[] = {774, 539, 577, 584};
    uint64_t rows[ARRAY_LEN(PINNED)];
    plan_rows(&plan, &at, 0, ARRAY_LEN(rows), rows);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_expect_eq(rows[i], PINNED[i], "row %zu is %lu", i, (unsigned long)rows[i]);
}

Test(plan, no_overflow_at_the_limits)
{
    uint64_t max = (uint64_t)1 << 56;
    struct plan plan = plan_of(max, max, max - 1, max, UINT32_MAX);
    dp_error err;
    cr_assert_eq(plan_check(&plan, &err), DP_OK);
    cr_assert_eq(plan_steps_per_epoch(&plan), 2);
    cr_assert_eq(plan_total(&plan), max + max / 2);
    struct plan_step at = plan_at(&plan, plan_total(&plan) - 1);
    cr_assert_eq(at.asks->number, QUESTION_LOSS);
    uint64_t first, count;
    plan_slot(&plan, &at, UINT32_MAX - 1, &first, &count);
    cr_assert_eq(first + count, max);
    cr_assert_eq(count, max / UINT32_MAX + 1);
}

Test(plan, check_refuses)
{
    const struct plan good = plan_of(100, 10, 10, 10, 8);
    dp_error err;
    cr_assert_eq(plan_check(&good, &err), DP_OK);
    struct plan bad[8];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        bad[i] = good;
    bad[0].train_rows = 0;
    bad[1].train_rows = UINT64_MAX;
    bad[2].eval_rows = UINT64_MAX;
    bad[3].batch = 0;
    bad[4].batch = 101;
    bad[5].train_steps = 0;
    bad[6].train_steps = UINT64_MAX;
    bad[7].slots = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_eq(plan_check(&bad[i], &err), DP_USAGE, "plan %zu", i);
        cr_expect_gt(strlen(err.text), 0);
        cr_expect_eq(plan_check(&bad[i], NULL), DP_USAGE);
    }
}

static uint64_t draw(uint64_t *at, uint64_t low, uint64_t high)
{
    return low + rng_u64(2024, RNG_STREAM_INIT, 1, (*at)++) % (high - low + 1);
}

Test(plan, random_jobs)
{
    uint64_t at = 0;
    for (int i = 0; i < 300; i++) {
        uint64_t rows = draw(&at, 1, 400);
        struct plan plan = plan_of(rows, draw(&at, 0, 1) * draw(&at, 1, 50), draw(&at, 1, rows), draw(&at, 1, 60),
                                   (uint32_t)draw(&at, 1, 20));
        plan.seed = draw(&at, 0, UINT64_MAX - 1);
        walk(&plan);
    }
}

/* An order by blocks has every row once an epoch, needs the blocks of one window at a time, and is another one in
 * each epoch and with another seed. */
Test(plan, order_by_blocks)
{
    static const struct {
        uint64_t rows, block_rows;
        uint32_t window_blocks;
    } CASES[] = {{1000, 10, 4}, {1003, 10, 4}, {7, 10, 4}, {50, 1, 1}, {64, 64, 1}, {129, 64, 16}, {999, 7, 3}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct plan plan = plan_of(CASES[i].rows, 3, MIN(6, CASES[i].rows - 1), 2 * CASES[i].rows, 4);
        plan.block_rows = CASES[i].block_rows;
        plan.window_blocks = CASES[i].window_blocks;
        walk(&plan);
    }
}

Test(plan, order_by_blocks_stays_in_its_window)
{
    enum { ROWS = 1005, BLOCK = 10, WINDOW = 4, SPAN = BLOCK * WINDOW };
    struct plan plan = plan_of(ROWS, 0, ROWS - 1, 4, 1);
    plan.block_rows = BLOCK;
    plan.window_blocks = WINDOW;
    uint64_t rows[ROWS], other[ROWS];
    const struct plan_step at = plan_at(&plan, 0), next = plan_at(&plan, 2);
    plan_rows(&plan, &at, 0, ROWS - 1, rows);
    plan_rows(&plan, &next, 0, ROWS - 1, other);
    cr_assert_neq(memcmp(rows, other, (ROWS - 1) * sizeof *rows), 0, "each epoch has the same order");
    for (uint64_t first = 0; first + SPAN < ROWS; first += SPAN) {
        bool seen[ROWS / BLOCK + 1] = {false};
        uint32_t blocks = 0, ascents = 0;
        for (uint64_t k = first; k < first + SPAN; k++) {
            blocks += !seen[rows[k] / BLOCK];
            seen[rows[k] / BLOCK] = true;
            ascents += k > first && rows[k] == rows[k - 1] + 1;
        }
        cr_assert_leq(blocks, WINDOW);
        cr_assert_lt(ascents, SPAN / 4, "the rows of a window are hardly mixed");
    }
}
