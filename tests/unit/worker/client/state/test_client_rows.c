/* Lists of row ids over parts of tables, and values that move from one list to another. */
#include <criterion/criterion.h>

#include "common/base/mem.h"
#include "proto/frame_rows.h"
#include "tests/unit/support/leaks.h"
#include "worker/client/state/rows.h"

/* Table 0: ids 0 .. 99 in three parts, rows of 2. Table 1: any id in two, rows of 1. */
static struct part parts[] = {
    {0, 0, 9}, {1, 0, INT64_MAX}, {0, 10, 59}, {0, 60, 99}, {1, (uint64_t)1 << 63, UINT64_MAX}};
static const struct row_layout LAYOUT = {
    .table_count = 2,
    .tables = {{.tensor = 1, .dim = 2, .last_row = 99}, {.tensor = 3, .dim = 1, .last_row = UINT64_MAX}},
    .part_count = 5,
    .parts = parts};

#define IDS(...)                                                                              \
    {                                                                                         \
        (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t) \
    }

static struct row_list *list_make(const dp_rows *rows)
{
    struct row_list *list = NULL;
    dp_error err;
    cr_assert_eq(row_list_new(&LAYOUT, rows, &list, &err), DP_OK, "%s", err.text);
    return list;
}

Test(client_rows, a_list_is_cut_at_the_parts)
{
    const dp_rows rows[] = {IDS(3, 9, 10, 99), IDS(0, 5, UINT64_MAX)};
    struct row_list *list = list_make(rows);
    static const struct {
        uint32_t count;
        uint64_t first, float_at;
    } WANT[] = {{2, 3, 0}, {2, 0, 8}, {1, 10, 4}, {1, 99, 6}, {1, UINT64_MAX, 10}};
    cr_assert_eq(list->floats, 4 * 2 + 3);
    for (size_t p = 0; p < 5; p++) {
        const struct row_span *span = &list->spans[p];
        cr_assert_eq(span->count, WANT[p].count, "part %zu", p);
        cr_assert_eq(span->ids[0], WANT[p].first, "part %zu", p);
        cr_assert_eq(span->float_at, WANT[p].float_at, "part %zu", p);
        cr_assert_eq(span->floats, span->count * LAYOUT.tables[parts[p].table].dim);
        cr_assert_eq(span->hash, frame_keys_hash(span->ids, span->count));
    }
    row_list_drop(list);
    const dp_rows none[2] = {{0}};
    list = list_make(none);
    cr_assert(list->floats == 0 && list->spans[2].count == 0 && list->spans[2].hash == 0);
    row_list_drop(list);
    ASSERT_NO_LEAKS();
}

Test(client_rows, what_is_no_list_is_refused)
{
    struct row_list *list = NULL;
    dp_error err;
    const dp_rows out[] = {IDS(3, 100), {0}}, twice[] = {IDS(3, 3), {0}}, down[] = {{0}, IDS(3, 2)};
    cr_assert_eq(row_list_new(&LAYOUT, out, &list, &err), DP_USAGE);
    cr_assert_eq(row_list_new(&LAYOUT, twice, &list, &err), DP_USAGE);
    cr_assert_eq(row_list_new(&LAYOUT, down, &list, &err), DP_USAGE);
    cr_assert_null(list);
    ASSERT_NO_LEAKS();
}

/* A message about a part has room for FRAME_ROWS_MAX. */
Test(client_rows, more_rows_than_a_message_takes_are_refused)
{
    const uint64_t count = (uint64_t)FRAME_ROWS_MAX + 1;
    uint64_t *ids = mem_array(count, sizeof *ids);
    struct row_list *list = NULL;
    dp_error err;
    for (uint64_t i = 0; i < count; i++)
        ids[i] = i;
    const dp_rows rows[] = {{0}, {ids, count}};
    cr_assert_eq(row_list_new(&LAYOUT, rows, &list, &err), DP_RANGE);
    free(ids);
    ASSERT_NO_LEAKS();
}

Test(client_rows, lists_merge_and_values_follow)
{
    const dp_rows a_rows[] = {IDS(3, 10), IDS(7)}, b_rows[] = {IDS(3, 4, 99), IDS(6, 8)};
    struct row_list *a = list_make(a_rows), *b = list_make(b_rows), *both = NULL;
    dp_error err;
    cr_assert_eq(row_list_merge(&LAYOUT, a, b, &both, &err), DP_OK);
    const uint64_t want_ids[] = {3, 4, 10, 99, 6, 7, 8};
    cr_assert_arr_eq(both->ids, want_ids, sizeof want_ids);
    cr_assert_eq(both->tables[0].count, 4);
    cr_assert_eq(both->floats, 4 * 2 + 3);
    const float values[] = {1, 2, 3, 4, 5}, want[] = {1, 2, 0, 0, 3, 4, 0, 0, 0, 5, 0};
    float got[11];
    row_values_spread(&LAYOUT, a, values, both, got);
    cr_assert_arr_eq(got, want, sizeof want);
    row_list_drop(a);
    row_list_drop(b);
    row_list_drop(both);
    ASSERT_NO_LEAKS();
}
