/* A look at the data: labels, and columns of other scales. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/unit/support/leaks.h"
#include "worker/data/look.h"

static struct data read_text(const char *text, enum data_format format)
{
    struct data data;
    dp_error err;
    const struct data_source source = {
        .path = "look.csv", .format = format, .label_column = format == DATA_CSV ? "0" : NULL};
    cr_assert_eq(data_parse(&source, text, strlen(text), NULL, 0, &data, &err), DP_OK, "%s", err.text);
    return data;
}

Test(data_look, loss_of_zeros)
{
    struct data data = read_text("3,1\n-1,2\n2,3\n", DATA_CSV);
    struct data_look look = {0};
    data_look_labels(&data, &look);
    cr_assert_float_eq(look.zero_loss, (9 + 1 + 4) / 6.0, 1e-12);
    cr_assert_eq(look.majority, 0);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

Test(data_look, the_most_frequent_label)
{
    struct data data;
    struct data_look look = {0};
    static const char TEXT[] = "3,1\n7,2\n3,3\n3,4\n7,5\n5,6\n";
    const struct data_source source = {.path = "look.csv", .label_column = "0", .label_use = LABEL_CLASSES};
    cr_assert_eq(data_parse(&source, TEXT, strlen(TEXT), NULL, 0, &data, NULL), DP_OK);
    data_look_labels(&data, &look);
    cr_assert_eq(look.majority, 3);
    cr_assert_eq(look.zero_loss, 0);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

static void assert_scales(const char *text, enum data_format format, const char *const *names, const char *want)
{
    struct data data = read_text(text, format);
    struct data_look look = {0};
    data_look_scales(&data, names, &look);
    cr_assert_str_eq(look.scales, want);
    data_fini(&data);
    ASSERT_NO_LEAKS();
}

Test(data_look, columns_of_other_scales_are_named)
{
    static const char *const NAMES[] = {"income", "age"};
    assert_scales("0,300000,30\n1,400000,40\n", DATA_CSV, NAMES, "'income' is around 3.5e+05, 'age' around 35");
    assert_scales("0,300000,30\n1,400000,40\n", DATA_CSV, NULL, "feature 1 is around 3.5e+05, feature 2 around 35");
    /* one of a thousand times the least, though half are not far */
    assert_scales("0,2000,50,1\n1,2000,50,1\n", DATA_CSV, NULL, "feature 1 is around 2e+03, feature 3 around 1");
    /* index 7 alone is large; zeros say nothing of a column */
    assert_scales("1 1:1 7:500\n0 1:1 3:0.5\n1 3:0.5\n", DATA_LIBSVM, NULL,
                  "feature 7 is around 5e+02, feature 3 around 0.5");
}

Test(data_look, columns_that_are_alike)
{
    assert_scales("0,255,3\n1,0,4\n", DATA_CSV, NULL, "");
    assert_scales("0,-99,1\n1,-99,1\n", DATA_CSV, NULL, "");
    assert_scales("0,5\n1,5000000\n", DATA_CSV, NULL, ""); /* one column has nothing to differ from */
    assert_scales("0,0,0\n1,0,0\n", DATA_CSV, NULL, "");
    assert_scales("1 1:1 2:1\n0 1:1 3:0.5\n", DATA_LIBSVM, NULL, "");
}

/* More values than are looked at: every third row of 6e7 values. */
Test(data_look, large_data_are_sampled)
{
    enum { ROWS = 6000, FEATURES = 10000 };
    struct data data = {.rows = ROWS, .features = FEATURES};
    data.values = mem_array((size_t)ROWS * FEATURES, sizeof *data.values);
    if (!data.values)
        cr_skip_test("no memory");
    for (size_t i = 0; i < (size_t)ROWS * FEATURES; i++)
        data.values[i] = i % FEATURES == 77 ? 1e4f : 1;
    struct data_look look = {0};
    uint64_t begin_ms = mono_ms();
    data_look_scales(&data, NULL, &look);
    cr_expect_lt(mono_ms() - begin_ms, 2000);
    cr_assert_str_eq(look.scales, "feature 78 is around 1e+04, feature 10000 around 1");
    free(data.values);
}
