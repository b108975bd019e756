/* First values of a job out of a model of another one: theta by the names of tensors, the state that belongs to it, and
 * rows that differ from their initial values. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/tensor/safetensors.h"
#include "server/step/first_values.h"
#include "server/store/warm.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

enum { A = 6, B = 10, ROWS = 8, DIM = 2, TABLE = 1 };

static char path[PATH_MAX];
static float values[A + ROWS * DIM + B];
static struct shard_job job;

static const float *give(void *arg, uint64_t first, uint64_t count)
{
    (void)arg, (void)count;
    return values + first;
}

/* The file has the tensors a, t and b; all of t's rows are initial values but one. */
static void write_model(void)
{
    static const uint64_t a[] = {A}, t[] = {ROWS, DIM}, b[] = {5, 2};
    struct tensors tensors = {0};
    struct safetensors_meta meta = {0};
    dp_error err;
    cr_assert_eq(tensors_add(&tensors, "a", 1, a, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&tensors, "t", 2, t, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&tensors, "b", 2, b, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(safetensors_write(path, &tensors, 0, &meta, give, NULL, A + ROWS * DIM + B, &err), DP_OK, "%s",
                 err.text);
    safetensors_meta_fini(&meta);
}

/* The job has them in another order. */
static void set_up(void)
{
    static const uint64_t a[] = {A}, t[] = {ROWS, DIM}, b[] = {5, 2};
    char dir[PATH_MAX - 8];
    dp_error err;
    folder_make(path);
    (void)str_copy(dir, sizeof dir, path);
    snprintf(path, sizeof path, "%s/m", dir);
    job = (struct shard_job){.rule = &rule_ftrl, .plan = {.seed = 5}};
    job.params.schedule.lr = 0.5;
    job.params.ftrl_beta = 2;
    cr_assert_eq(tensors_add(&job.tensors, "b", 2, b, INIT_ZEROS, 0, true, &err), DP_OK);
    cr_assert_eq(tensors_add_table(&job.tensors, "t", TENSOR_TABLE, 2, t, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert_eq(tensors_add(&job.tensors, "a", 1, a, INIT_ZEROS, 0, true, &err), DP_OK);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        values[i] = (float)i + 0.25F;
    for (uint64_t id = 0; id < ROWS; id++)
        if (id != 3)
            tensors_init_row(&job.tensors, TABLE, job.plan.seed, id, values + A + id * DIM);
    write_model();
}

static void tear_down(void)
{
    *strrchr(path, '/') = '\0';
    folder_unmake(path);
    ASSERT_NO_LEAKS();
}

TestSuite(warm, .init = set_up, .fini = tear_down);

static struct values_source *open_model(void)
{
    struct values_source *source;
    dp_error err;
    cr_assert_eq(warm_open(path, &source, &err), DP_OK, "%s", err.text);
    return source;
}

Test(warm, any_range_of_theta_with_the_state_of_a_job_that_begins)
{
    job.from = open_model();
    for (uint64_t first = 0; first < A + B; first++)
        for (uint64_t count = 1; first + count <= A + B; count++) {
            float theta[A + B], state[3][A + B] = {{0}}, *states[] = {state[0], state[1], state[2]};
            dp_error err;
            cr_assert_eq(first_values_range(&job, (struct range){first, count}, theta, states, &err), DP_OK, "%s",
                         err.text);
            for (uint64_t i = 0; i < count; i++) {
                const uint64_t at = first + i;
                const float want = at < B ? values[A + ROWS * DIM + at] : values[at - B];
                cr_assert_eq(theta[i], want);
                cr_assert_eq(state[0][i], -want * 4); /* beta / lr */
                cr_assert_eq(state[1][i], 0);
            }
        }
    struct first_arrivals arrivals;
    struct multipliers multipliers;
    dp_error err;
    cr_assert_eq(first_values_arrivals(&job, (struct range){0, A}, &arrivals, &err), DP_OK);
    cr_assert_eq(arrivals.open, 0);
    first_values_multipliers(&job, &multipliers);
    values_source_close(&job.from);
    cr_assert_null(job.from);
}

static dp_err take(void *arg, const uint32_t *words, uint64_t count, dp_error *err)
{
    uint64_t *rows = arg;
    float floats[DIM * 2];
    (void)err;
    memcpy(floats, words + 3, sizeof floats);
    cr_assert_eq(count, 1);
    cr_assert(words[0] == 3 && words[1] == 0 && words[2] == 1, "the row, its id and the stamp of theta_0");
    for (uint32_t d = 0; d < DIM; d++) {
        cr_assert_eq(floats[d], values[A + 3 * DIM + d]);
        cr_assert_eq(floats[DIM + d], -4 * floats[d]);
    }
    *rows += count;
    return DP_OK;
}

Test(warm, rows_that_differ_from_their_initial_values)
{
    uint64_t rows = 0;
    dp_error err;
    job.from = open_model();
    cr_assert_eq(first_values_rows(&job, TABLE, 0, ROWS - 1, (struct rows_taker){take, &rows}, &err), DP_OK);
    cr_assert_eq(rows, 1);
    cr_assert_eq(first_values_rows(&job, TABLE, 4, ROWS - 1, (struct rows_taker){take, &rows}, &err), DP_OK);
    cr_assert_eq(rows, 1);
    values_source_close(&job.from);
}

Test(warm, values_that_are_not_finite_are_refused)
{
    float theta[A + B], state[3][A + B] = {{0}}, *states[] = {state[0], state[1], state[2]};
    uint64_t rows = 0;
    dp_error err;
    values[2] = NAN;
    values[A + 3 * DIM] = INFINITY;
    write_model();
    job.from = open_model();
    cr_assert_eq(first_values_range(&job, (struct range){0, B}, theta, states, &err), DP_OK);
    cr_assert_eq(first_values_range(&job, (struct range){0, A + B}, theta, states, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "tensor 'a' has elements that are not finite"), "%s", err.text);
    cr_assert_eq(first_values_rows(&job, TABLE, 0, 7, (struct rows_taker){take, &rows}, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "tensor 't'"), "%s", err.text);
    values_source_close(&job.from);
}

Test(warm, a_tensor_that_is_missing_is_named)
{
    float theta[A + B], state[3][A + B] = {{0}}, *states[] = {state[0], state[1], state[2]};
    dp_error err;
    job.from = open_model();
    strcpy(job.tensors.list[0].name, "c");
    cr_assert_eq(first_values_range(&job, (struct range){0, 1}, theta, states, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "has no tensor 'c'"), "%s", err.text);
    values_source_close(&job.from);
}
