/* Values of nodes: sums of gradients with the rows behind them, and gradients that are not finite. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/base/util.h"
#include "tests/unit/support/leaks.h"
#include "worker/client/state/finite.h"
#include "worker/client/state/values.h"

enum { DENSE = 3 };

/* One table with rows of 2. */
static struct part parts[] = {{0, 0, 99}};
static const struct row_layout LAYOUT = {
    .table_count = 1, .tables = {{.tensor = 1, .dim = 2, .last_row = 99}}, .part_count = 1, .parts = parts};

static struct row_list *list_of(const uint64_t *ids, uint64_t count)
{
    struct row_list *list = NULL;
    dp_error err;
    const dp_rows rows = {ids, count};
    cr_assert_eq(row_list_new(&LAYOUT, &rows, &list, &err), DP_OK, "%s", err.text);
    return list;
}

/* Values first, first + 1, ...; the list, if there is one, is given up. */
static struct node_value value_of(struct slab_pool *pool, struct row_list *list, float first, uint64_t count)
{
    struct node_value value = {.metrics = {.count = count, .loss = (double)first, .correct = 1}};
    const uint64_t floats = list ? list->floats : 0;
    value.slab = slab_take(pool, DENSE + floats);
    for (uint64_t i = 0; i < DENSE + floats; i++)
        value.slab->values[i] = first + (float)i;
    if (list)
        value_take_rows(&value, DENSE, list);
    row_list_drop(list);
    return value;
}

Test(client_values, dense_values_are_added_left_to_right)
{
    struct slab_pool pool = {.all = NULL};
    const struct values_room room = {&pool, &LAYOUT, DENSE};
    struct node_value left = value_of(&pool, NULL, 1, 2), right = value_of(&pool, NULL, 10, 3);
    dp_error err;
    cr_assert_eq(value_fold(&room, &left, &right, &err), DP_OK);
    for (size_t i = 0; i < DENSE; i++)
        cr_assert_eq(left.slab->values[i], 11 + 2 * (float)i);
    cr_assert(left.metrics.count == 5 && left.metrics.loss == 11 && left.metrics.correct == 2);
    cr_assert(!right.slab && !right.list && right.metrics.count == 0, "what was folded is given up");
    value_drop(&left);
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

Test(client_values, rows_that_one_lacks_are_the_others)
{
    struct slab_pool pool = {.all = NULL};
    const struct values_room room = {&pool, &LAYOUT, DENSE};
    const uint64_t some[] = {3, 7}, others[] = {7, 9};
    struct node_value left = value_of(&pool, list_of(some, 2), 1, 1);
    struct node_value right = value_of(&pool, list_of(others, 2), 100, 1);
    /* 1 2 3 | 3: 4 5, 7: 6 7 and 100 101 102 | 7: 103 104, 9: 105 106 */
    static const float WANT[] = {101, 103, 105, 4, 5, 109, 111, 105, 106};
    dp_error err;
    cr_assert_eq(value_fold(&room, &left, &right, &err), DP_OK);
    cr_assert_eq(left.list->floats, 6);
    for (size_t i = 0; i < ARRAY_LEN(WANT); i++)
        cr_assert_eq(left.slab->values[i], WANT[i], "value %zu: %g", i, (double)left.slab->values[i]);
    value_drop(&left);
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

Test(client_values, rows_that_are_taken_have_no_minus_zero)
{
    struct slab_pool pool = {.all = NULL};
    const uint64_t ids[] = {3};
    struct row_list *list = list_of(ids, 1);
    struct node_value value = {.slab = slab_take(&pool, DENSE + 2)};
    for (size_t i = 0; i < DENSE + 2; i++)
        value.slab->values[i] = -0.0f;
    value_take_rows(&value, DENSE, list);
    for (size_t i = 0; i < DENSE + 2; i++)
        cr_assert_eq(!!signbit(value.slab->values[i]), i < DENSE, "value %zu", i);
    row_list_drop(list);
    value_drop(&value);
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

Test(client_values, an_evaluation_has_sums_alone)
{
    struct slab_pool pool = {.all = NULL};
    const struct values_room room = {&pool, &LAYOUT, DENSE};
    struct node_value left = {.metrics = {.count = 2, .loss = 0.5}}, right = {.metrics = {.count = 3, .loss = 0.25}};
    dp_error err;
    cr_assert_eq(value_fold(&room, &left, &right, &err), DP_OK);
    cr_assert(!left.slab && left.metrics.count == 5 && left.metrics.loss == 0.75);
}

Test(client_finite, the_element_is_named)
{
    static const dp_tensor TENSORS[] = {{.name = "weight", .offset = 0, .elems = 2},
                                        {.name = "bias", .offset = 2, .elems = 1},
                                        {.name = "embedding", .kind = DP_TABLE, .elems = 2}};
    const dp_job job = {.tensors = TENSORS, .tensor_count = 3};
    const struct gradient_place place = {&job, DENSE, 12, 4};
    struct slab_pool pool = {.all = NULL};
    const uint64_t ids[] = {3};
    struct node_value value = value_of(&pool, list_of(ids, 1), 1, 1);
    static const char *const WHERE[] = {"element 0 of tensor 'weight' is", "element 1 of tensor 'weight' is",
                                        "element 0 of tensor 'bias' is", "value 0 of the rows of tables is",
                                        "value 1 of the rows of tables is"};
    dp_error err;
    cr_assert_eq(gradient_check(&place, &value, value.list, &err), DP_OK);
    for (size_t i = 0; i < ARRAY_LEN(WHERE); i++) {
        value.slab->values[i] = i % 2 ? INFINITY : NAN;
        cr_assert_eq(gradient_check(&place, &value, value.list, &err), DP_DATA);
        cr_assert_not_null(strstr(err.text, WHERE[i]), "%s", err.text);
        cr_assert_not_null(strstr(err.text, "step 12, slot 4: "), "%s", err.text);
        value.slab->values[i] = 1;
    }
    value.slab->values[0] = NAN;
    value.metrics.loss = NAN;
    cr_assert_eq(gradient_check(&place, &value, value.list, &err), DP_OK, "its loss ends the job as diverged");
    value_drop(&value);
    slab_pool_fini(&pool);
}
