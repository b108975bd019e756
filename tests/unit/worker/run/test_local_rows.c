/* Rows over the columns that they touch: the same rows, and gradients with the same bits. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/util.h"
#include "tests/unit/support/leaks.h"
#include "worker/data/data.h"
#include "worker/model/model.h"
#include "worker/model/scratch.h"
#include "worker/run/local_rows.h"
#include "worker/run/touched.h"

enum { ROWS = 60, ENTRIES_MAX = 12 };

/* Rows of up to ENTRIES_MAX entries in `features` columns; some rows have none. */
static struct data data_make(uint64_t features)
{
    struct data data = {.rows = ROWS, .features = features};
    data.row_at = mem_array(ROWS + 1, sizeof *data.row_at);
    data.columns = mem_array((size_t)ROWS * ENTRIES_MAX, sizeof *data.columns);
    data.values = mem_array((size_t)ROWS * ENTRIES_MAX, sizeof *data.values);
    uint64_t at = 0;
    for (uint64_t r = 0; r < ROWS; r++) {
        data.row_at[r] = at;
        uint64_t column = r * 31 % features;
        for (uint64_t k = 0; k < r % (ENTRIES_MAX + 1) && column < features; k++) {
            data.columns[at] = (uint32_t)column;
            data.values[at++] = (float)(r + k) / 7 - 3;
            column += 1 + (r * 7919 + k * 104729) % (features / ENTRIES_MAX);
        }
    }
    data.row_at[ROWS] = at;
    return data;
}

static const uint64_t SLOT[] = {5, 59, 0, 17, 5, 33, 12, 40};

Test(local_rows, the_same_rows_over_fewer_columns)
{
    static const uint64_t FEATURES[] = {13, 2047, 2048, 1 << 20, (1 << 22) + 1, UINT32_MAX};
    struct local_rows local = {0};
    float targets[ROWS];
    dp_error err;
    for (size_t r = 0; r < ROWS; r++)
        targets[r] = (float)r;
    for (size_t f = 0; f < ARRAY_LEN(FEATURES); f++) {
        struct data data = data_make(FEATURES[f]);
        cr_assert_eq(local_rows_fill(&local, &data, targets, SLOT, ARRAY_LEN(SLOT), &err), DP_OK);
        cr_assert_eq(local.data.rows, ARRAY_LEN(SLOT));
        for (uint64_t c = 1; c < local.data.features; c++)
            cr_assert_lt(local.columns[c - 1], local.columns[c]);
        for (size_t i = 0; i < ARRAY_LEN(SLOT); i++) {
            uint64_t from = data.row_at[SLOT[i]], count = data.row_at[SLOT[i] + 1] - from, at = local.data.row_at[i];
            cr_assert_eq(local.data.row_at[i + 1] - at, count);
            cr_assert_eq(local.targets[i], targets[SLOT[i]]);
            for (uint64_t k = 0; k < count; k++) {
                cr_assert_eq(local.columns[local.data.columns[at + k]], data.columns[from + k]);
                cr_assert_eq(local.data.values[at + k], data.values[from + k]);
            }
        }
        data_fini(&data);
    }
    local_rows_fini(&local);
    ASSERT_NO_LEAKS();
}

/* Theta of the whole model with the bias behind the weight, and of the columns touched with the bias before them. */
static void theta_fill(const struct model_spec *whole, const struct local_rows *local, float *theta, float *compact)
{
    const size_t width = whole->classes ? whole->classes : 1, weights = whole->features * width;
    for (size_t i = 0; i < weights + width; i++)
        theta[i] = (float)((i * 37) % 101) / 50 - 1;
    memcpy(compact, theta + weights, width * sizeof *theta);
    for (uint64_t c = 0; c < local->data.features; c++)
        memcpy(compact + (1 + c) * width, theta + local->columns[c] * width, width * sizeof *theta);
}

static void expect_same_gradient(const char *name, uint32_t classes)
{
    enum { FEATURES = 500 };
    const size_t width = classes ? classes : 1, weights = FEATURES * width;
    const struct model_spec whole = {.features = FEATURES, .classes = classes, .intercept = true};
    const struct model *model = model_find(name);
    struct data data = data_make(FEATURES);
    struct local_rows local = {0};
    struct model_scratch *scratch = model_scratch_new(&whole, ROWS, false);
    float *theta = mem_array(weights + width, sizeof *theta), *grad = mem_array(weights + width, sizeof *grad);
    float *compact = mem_array(weights + width, sizeof *compact), *small = mem_array(weights + width, sizeof *small);
    float targets[ROWS];
    uint64_t in_order[ARRAY_LEN(SLOT)];
    dp_metrics want = {0}, got = {0};
    dp_error err;
    for (size_t r = 0; r < ROWS; r++)
        targets[r] = classes ? (float)(r % classes) : (r % 2 ? 1.0f : -1.0f);
    for (size_t i = 0; i < ARRAY_LEN(SLOT); i++)
        in_order[i] = i;
    cr_assert_eq(local_rows_fill(&local, &data, targets, SLOT, ARRAY_LEN(SLOT), &err), DP_OK);
    theta_fill(&whole, &local, theta, compact);
    struct model_spec spec = whole;
    spec.table = true;
    spec.features = local.data.features;
    model_gradient(model, &whole, &data, targets, SLOT, ARRAY_LEN(SLOT), theta, scratch, grad, &want);
    model_gradient(model, &spec, &local.data, local.targets, in_order, ARRAY_LEN(SLOT), compact, scratch, small, &got);
    cr_assert_eq(memcmp(&want, &got, sizeof want), 0, "%s: metrics", name);
    cr_assert_eq(memcmp(grad + weights, small, width * sizeof *grad), 0, "%s: bias", name);
    for (uint64_t c = 0; c < local.data.features; c++)
        cr_assert_eq(memcmp(grad + local.columns[c] * width, small + (1 + c) * width, width * sizeof *grad), 0,
                     "%s: column %lu", name, (unsigned long)local.columns[c]);
    model_scratch_free(&scratch);
    local_rows_fini(&local);
    data_fini(&data);
    free(theta);
    free(grad);
    free(compact);
    free(small);
}

Test(local_rows, gradients_have_the_bits_of_the_whole)
{
    expect_same_gradient("linear", 0);
    expect_same_gradient("logistic", 0);
    expect_same_gradient("softmax", 5);
    ASSERT_NO_LEAKS();
}

static dp_rows ask(struct touched *touched, uint64_t tag, uint64_t step, const uint32_t *slots, uint32_t count)
{
    const dp_ask question = {.tag = tag, .step = step, .slots = slots, .slot_count = count};
    dp_rows rows = {0};
    dp_error err;
    cr_assert_eq(touched_rows(touched, &question, &rows, &err), DP_OK, "%s", err.text);
    return rows;
}

Test(touched, slots_are_found_by_the_question_that_was_about_them)
{
    const struct plan plan = {
        .seed = 3, .train_rows = ROWS, .eval_rows = ROWS, .batch = 24, .train_steps = 9, .slots = 8};
    struct data data = data_make(1000);
    float targets[ROWS] = {0};
    const struct touched_source source = {&plan, {{&data, targets}, {&data, targets}}};
    struct touched *touched = touched_new(&source);
    const uint32_t mine[] = {1, 2, 6}, late[] = {0};
    dp_rows first = ask(touched, 1, 0, mine, 3);
    cr_assert_gt(first.count, 0);
    (void)ask(touched, 2, 0, late, 1);
    (void)ask(touched, 3, 1, mine, 3);
    const struct plan_step at = plan_at(&plan, 0);
    for (size_t i = 0; i < 3; i++) {
        struct touched_slot slot = touched_find(touched, 1, mine[i]);
        uint64_t begin, count, rows[8];
        plan_slot(&plan, &at, mine[i], &begin, &count);
        plan_rows(&plan, &at, begin, count, rows);
        cr_assert_eq(slot.count, count);
        for (uint64_t r = 0; r < count; r++)
            cr_assert_eq(slot.local->data.row_at[slot.first + r + 1] - slot.local->data.row_at[slot.first + r],
                         data.row_at[rows[r] + 1] - data.row_at[rows[r]]);
    }
    cr_assert_eq(touched_find(touched, 2, 0).first, 0);
    touched_forget(touched, 1);
    (void)touched_find(touched, 3, 6);
    touched_free(&touched);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

/* In full batches every step has the same rows: they are gone through once. */
Test(touched, the_same_rows_are_sorted_once)
{
    const struct plan plan = {.seed = 3, .train_rows = ROWS, .batch = ROWS, .train_steps = 9, .slots = 4};
    struct data data = data_make(1000);
    float targets[ROWS] = {0};
    const struct touched_source source = {&plan, {{&data, targets}, {NULL, NULL}}};
    struct touched *touched = touched_new(&source);
    const uint32_t slots[] = {0, 1, 2, 3};
    for (uint64_t step = 0; step < 9; step++) {
        (void)ask(touched, step + 1, step, slots, 4);
        if (step > 0)
            touched_forget(touched, step - 1);
        cr_assert_eq(touched_find(touched, step + 1, 0).local, touched_find(touched, step ? step : 1, 0).local);
    }
    touched_free(&touched);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}
