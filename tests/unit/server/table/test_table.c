/* Storage of tables, lists of ids, their cache, and sums of rows. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/table/rows.h"
#include "server/table/sum.h"
#include "tests/unit/support/leaks.h"

static uint64_t state = 998244353u;

static uint64_t roll(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static struct rowlist *list_of(uint32_t count, const uint64_t *ids)
{
    struct rowlist *list = rowlist_new(count);
    memcpy(list->ids, ids, count * sizeof *ids);
    return list;
}

#define LIST(...) list_of(ARRAY_LEN(((const uint64_t[]){__VA_ARGS__})), (const uint64_t[]){__VA_ARGS__})

/* -- storage -- */

static struct tensor tensor_of(enum tensor_kind kind, uint64_t rows, uint32_t dim)
{
    struct tensors tensors = {0};
    const uint64_t table[] = {rows, dim}, row[] = {dim};
    cr_assert_eq(tensors_add_table(&tensors, "t", kind, kind == TENSOR_TABLE ? 2 : 1,
                                   kind == TENSOR_TABLE ? table : row, INIT_ZEROS, 0, true, NULL),
                 DP_OK);
    return tensors.list[0];
}

Test(table, rows_of_a_dense_range_are_where_their_ids_say)
{
    struct tensor tensor = tensor_of(TENSOR_TABLE, 1000, 3);
    struct table table;
    cr_assert_eq(table_init(&table, &tensor, 100, 299, 2), DP_OK);
    cr_assert_eq(table.stride, 1 + 3 * 3);
    struct rowlist *list = LIST(100, 101, 299);
    table_find(&table, list);
    cr_assert_eq(list->missing, 0);
    cr_assert(list->rows[0] == 0 && list->rows[1] == 1 && list->rows[2] == 199);
    cr_assert_eq(record_stamp(table_record(&table, 199)), 0, "nothing has touched it");
    rowlist_release(&list);
    table_fini(&table);
    ASSERT_NO_LEAKS();
}

Test(table, hashed_rows_are_found_again_wherever_the_table_grows_to)
{
    enum { ROWS = 20000 };
    struct tensor tensor = tensor_of(TENSOR_HASHED, 0, 2);
    struct table table;
    cr_assert_eq(table_init(&table, &tensor, 0, UINT64_MAX, 0), DP_OK);
    uint64_t *ids = mem_array(ROWS, sizeof *ids);
    for (uint32_t i = 0; i < ROWS; i++)
        ids[i] =
            i < ROWS / 2 ? i * 4096 : (UINT64_C(1) << 63) + i * UINT64_C(0x100000001); /* ascending, with patterns */
    ids[ROWS - 1] = UINT64_MAX;
    for (uint32_t i = 0; i < ROWS; i += 100) {
        struct rowlist *list = list_of(100, ids + i);
        table_find(&table, list);
        cr_assert_eq(list->missing, 100);
        cr_assert_eq(table_make(&table, list), DP_OK);
        cr_assert_eq(list->missing, 0);
        for (uint32_t k = 0; k < 100; k++)
            table_record(&table, list->rows[k])[1] = (float)(i + k);
        rowlist_release(&list);
    }
    cr_assert_eq(table.count, ROWS);
    struct rowlist *all = list_of(ROWS, ids);
    cr_assert_eq(table_make(&table, all), DP_OK);
    cr_assert_eq(table.count, ROWS, "none is made twice");
    for (uint32_t i = 0; i < ROWS; i++)
        cr_assert_eq(table_record(&table, all->rows[i])[1], (float)i);
    rowlist_release(&all);
    free(ids);
    table_fini(&table);
    ASSERT_NO_LEAKS();
}

Test(table, touched_rows_are_found_without_looking_at_the_others)
{
    struct tensor tensor = tensor_of(TENSOR_TABLE, 1000, 1);
    const uint32_t rows[] = {0, 1, 63, 64, 200, 498, 499};
    struct table table;
    cr_assert_eq(table_init(&table, &tensor, 500, 999, 0), DP_OK);
    cr_assert_eq(table_next_touched(&table, 500), UINT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        table_stamp(&table, rows[i], 7);
        table_stamp(&table, rows[i], 8);
    }
    cr_assert_eq(table.touched, ARRAY_LEN(rows));
    uint64_t id = 500;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++, id++) {
        id = table_next_touched(&table, id);
        cr_assert_eq(id, 500 + rows[i]);
    }
    cr_assert_eq(table_next_touched(&table, id), UINT64_MAX);
    cr_assert_eq(table_next_touched(&table, 5000), UINT64_MAX);
    cr_assert_eq(record_stamp(table_record(&table, 63)), 8);
    table_fini(&table);
    ASSERT_NO_LEAKS();
}

Test(table, looking_for_rows_makes_none)
{
    struct tensor tensor = tensor_of(TENSOR_HASHED, 0, 1);
    struct table table;
    cr_assert_eq(table_init(&table, &tensor, 0, UINT64_MAX, 0), DP_OK);
    struct rowlist *a = LIST(0, 5, 7), *b = LIST(5, 6);
    table_find(&table, a);
    cr_assert(a->missing == 3 && a->rows[1] == ROW_NONE && table.count == 0);
    cr_assert_eq(table_make(&table, b), DP_OK);
    table_find(&table, a);
    cr_assert(a->missing == 2 && a->rows[0] == ROW_NONE && a->rows[1] == b->rows[0] && a->rows[2] == ROW_NONE);
    cr_assert_eq(table.count, 2);
    rowlist_release(&a);
    rowlist_release(&b);
    table_fini(&table);
    ASSERT_NO_LEAKS();
}

/* -- lists that are kept -- */

static struct rowlist *named(uint32_t part, uint64_t hash, uint32_t count)
{
    struct rowlist *list = rowlist_new(count);
    list->part = part;
    list->hash = hash;
    return list;
}

static void keep(struct rowcache *cache, uint32_t part, uint64_t hash, uint32_t count)
{
    struct rowlist *list = named(part, hash, count);
    rowcache_keep(cache, list);
    rowlist_release(&list);
}

Test(rowlist, the_cache_knows_lists_by_part_hash_and_count)
{
    static struct rowcache cache;
    rowcache_init(&cache, 1 << 20);
    keep(&cache, 0, 7, 10);
    keep(&cache, 1, 7, 10);
    keep(&cache, 0, 7 + ROWCACHE_BUCKETS, 10);
    cr_assert_not_null(rowcache_find(&cache, 0, 7, 10));
    cr_assert_neq(rowcache_find(&cache, 0, 7, 10), rowcache_find(&cache, 1, 7, 10));
    cr_assert_not_null(rowcache_find(&cache, 0, 7 + ROWCACHE_BUCKETS, 10));
    cr_assert_null(rowcache_find(&cache, 0, 7, 11));
    cr_assert_null(rowcache_find(&cache, 2, 7, 10));
    cr_assert_null(rowcache_find(&cache, 0, 8, 10));
    cr_assert_eq(cache.lists, 3);
    rowcache_fini(&cache);
    cr_assert(cache.lists == 0 && cache.bytes == 0 && !cache.newest);
    ASSERT_NO_LEAKS();
}

Test(rowlist, what_is_used_least_is_forgotten_first_and_lives_on_where_it_is_held)
{
    static struct rowcache cache;
    rowcache_init(&cache, 3 * (100 * 12 + sizeof(struct rowlist)));
    for (uint64_t hash = 1; hash <= 3; hash++)
        keep(&cache, 0, hash, 100);
    struct rowlist *held = rowlist_retain(rowcache_find(&cache, 0, 2, 100));
    cr_assert_not_null(rowcache_find(&cache, 0, 1, 100));
    keep(&cache, 0, 4, 100);
    cr_assert_null(rowcache_find(&cache, 0, 3, 100), "the one that nobody asked for");
    keep(&cache, 0, 5, 100);
    cr_assert_null(rowcache_find(&cache, 0, 2, 100));
    cr_assert(held->refs == 1 && held->count == 100);
    keep(&cache, 0, 6, 1000);
    cr_assert_eq(cache.lists, 0, "too large alone");
    rowlist_release(&held);
    rowcache_fini(&cache);
    ASSERT_NO_LEAKS();
}

/* -- sums -- */

static struct rowsum sum_of(struct rowlist *list, uint32_t dim, float first)
{
    float *values = mem_array((size_t)list->count * dim, sizeof *values);
    for (uint32_t i = 0; i < list->count * dim; i++)
        values[i] = first + (float)i;
    return (struct rowsum){list, {values, (size_t)list->count * dim * sizeof *values, values, free}};
}

Test(rowfold, rows_of_both_are_added_and_others_taken_over)
{
    struct rowlist *a = LIST(2, 5, 9), *b = LIST(1, 5, 9, 10, 11);
    for (uint32_t i = 0; i < 3; i++)
        a->rows[i] = (uint32_t)a->ids[i];
    for (uint32_t i = 0; i < 5; i++)
        b->rows[i] = (uint32_t)b->ids[i];
    struct rowsum left = sum_of(a, 2, 1), right = sum_of(b, 2, 100), sum;
    ((float *)left.values.data)[0] = -0.0f;
    cr_assert_eq(rowsum_add(&left, &right, 2, &sum), DP_OK);
    cr_assert(!left.list && !right.list && !left.values.data && !right.values.data);
    const uint64_t ids[] = {1, 2, 5, 9, 10, 11};
    const float values[] = {100, 101, 0, 2, 3 + 102, 4 + 103, 5 + 104, 6 + 105, 106, 107, 108, 109};
    cr_assert_eq(sum.list->count, 6);
    cr_assert_arr_eq(sum.list->ids, ids, sizeof ids);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_eq(sum.list->rows[i], ids[i]);
    for (uint32_t i = 0; i < 12; i++)
        cr_assert_eq(((float *)sum.values.data)[i], values[i]);
    cr_assert(signbit(((float *)sum.values.data)[2]), "never added to 0");
    rowsum_release(&sum);
    ASSERT_NO_LEAKS();
}

/* Ascending ids below `range`, values of any bits: zeros of both signs, infinities, denormals. */
static struct rowsum random_sum(uint32_t count, uint64_t range, uint32_t dim)
{
    static const float ODD[] = {0.0F, -0.0F, INFINITY, -INFINITY, 1e-45F, -1e-45F, 3e38F};
    struct rowlist *list = rowlist_new(count);
    size_t floats = (size_t)count * dim;
    float *values = mem_array(floats, sizeof *values);
    for (uint32_t i = 0; i < count; i++) {
        list->ids[i] = (i ? list->ids[i - 1] + 1 : 0) + roll() % (range / count);
        list->rows[i] = (uint32_t)(list->ids[i] * 7);
    }
    for (size_t i = 0; i < floats; i++)
        values[i] = roll() % 4 == 0 ? ODD[roll() % ARRAY_LEN(ODD)] : (float)(int64_t)roll() * 1e-18F;
    return (struct rowsum){list, {values, floats * sizeof *values, values, free}};
}

static struct rowsum copy_of(const struct rowsum *sum)
{
    void *values = mem_array(sum->values.bytes, 1);
    memcpy(values, sum->values.data, sum->values.bytes);
    return (struct rowsum){rowlist_retain(sum->list), {values, sum->values.bytes, values, free}};
}

static uint32_t place_of(const struct rowlist *list, uint64_t id)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (list->ids[i] == id)
            return i;
    return ROW_NONE;
}

/* The sum, against each id looked up in both. */
static void check_sum(const struct rowsum *sum, const struct rowsum *left, const struct rowsum *right, uint32_t dim)
{
    const float *values = sum->values.data, *lv = left->values.data, *rv = right->values.data;
    uint32_t both = 0;
    for (uint32_t n = 0; n < sum->list->count; n++) {
        const uint64_t id = sum->list->ids[n];
        const uint32_t i = place_of(left->list, id), j = place_of(right->list, id);
        cr_assert(n == 0 || sum->list->ids[n - 1] < id);
        cr_assert(i != ROW_NONE || j != ROW_NONE);
        cr_assert_eq(sum->list->rows[n], (uint32_t)(id * 7));
        both += i != ROW_NONE && j != ROW_NONE;
        for (uint32_t k = 0; k < dim; k++) {
            const float l = i == ROW_NONE ? 0 : lv[(size_t)i * dim + k],
                        r = j == ROW_NONE ? 0 : rv[(size_t)j * dim + k];
            const float expected = i == ROW_NONE ? r : j == ROW_NONE ? l : l + r, *got = &values[(size_t)n * dim + k];
            cr_assert(memcmp(got, &expected, sizeof expected) == 0, "id %llu: %a, not %a", (unsigned long long)id,
                      (double)*got, (double)expected);
        }
    }
    cr_assert_eq(sum->list->count + both, left->list->count + right->list->count, "no row is lost");
    cr_assert_eq(sum->values.bytes, (size_t)sum->list->count * dim * sizeof(float));
}

Test(rowfold, random_sums_have_the_bits_of_each_row_alone)
{
    static const uint32_t DIMS[] = {1, 2, 16};
    static const uint32_t COUNTS[][2] = {{1, 1}, {1, 300}, {300, 1}, {300, 300}, {200, 40}};
    for (uint32_t at = 0; at < ARRAY_LEN(DIMS) * ARRAY_LEN(COUNTS); at++) {
        const uint32_t dim = DIMS[at % ARRAY_LEN(DIMS)], *counts = COUNTS[at / ARRAY_LEN(DIMS)];
        struct rowsum left = random_sum(counts[0], 900, dim), right = random_sum(counts[1], 900, dim), sum;
        struct rowsum copies[] = {copy_of(&left), copy_of(&right)};
        cr_assert_eq(rowsum_add(&left, &right, dim, &sum), DP_OK);
        check_sum(&sum, &copies[0], &copies[1], dim);
        rowsum_release(&sum);
        rowsum_release(&copies[0]);
        rowsum_release(&copies[1]);
    }
    ASSERT_NO_LEAKS();
}

Test(rowfold, the_same_list_is_one_addition_in_place)
{
    struct rowlist *list = LIST(1, 2, 3);
    struct rowsum left = sum_of(list, 1, 0), right = sum_of(rowlist_retain(list), 1, 10), sum;
    cr_assert_eq(rowsum_add(&left, &right, 1, &sum), DP_OK);
    cr_assert_eq(sum.list, list);
    cr_assert_eq(list->refs, 1);
    cr_assert_eq(((float *)sum.values.data)[2], 14);
    rowsum_release(&sum);
    ASSERT_NO_LEAKS();
}

Test(rowfold, an_empty_side_gives_the_other)
{
    struct rowsum left = sum_of(LIST(4), 1, 1), none = {0}, sum;
    cr_assert_eq(rowsum_add(&none, &left, 1, &sum), DP_OK);
    cr_assert(sum.list->count == 1 && ((float *)sum.values.data)[0] == 1 && !left.list);
    left = sum;
    cr_assert_eq(rowsum_add(&left, &none, 1, &sum), DP_OK);
    cr_assert_eq(sum.list->count, 1);
    rowsum_release(&sum);
    cr_assert_eq(rowsum_add(&none, &none, 1, &sum), DP_OK);
    cr_assert_null(sum.list);
    ASSERT_NO_LEAKS();
}

/* Lists that cannot be counted together are not read. */
Test(rowfold, two_lists_too_long_for_one)
{
    struct rowlist long_list = {.refs = 1, .count = UINT32_MAX / 2 + 1}, other = long_list;
    struct rowsum left = {.list = &long_list}, right = {.list = &other}, sum = {0};
    cr_assert_eq(rowsum_add(&left, &right, 1, &sum), DP_NOMEM);
    cr_assert_eq(left.list, &long_list, "both stay as they were");
    cr_assert_eq(right.list, &other);
}

Test(rowfold, random_lists)
{
    enum { IDS = 200, DIM = 3 };
    for (int round = 0; round < 200; round++) {
        struct rowsum side[2], sum;
        float want[IDS] = {0};
        bool there[IDS] = {false};
        for (int s = 0; s < 2; s++) {
            uint64_t ids[IDS], every = 1 + roll() % 9;
            uint32_t n = 0;
            for (uint64_t id = 0; id < IDS; id++)
                if (roll() % every == 0)
                    ids[n++] = id;
            side[s] = sum_of(list_of(n, ids), DIM, (float)(roll() % 1000));
            memset(side[s].list->rows, 0, n * sizeof(uint32_t));
            for (uint32_t i = 0; i < n; i++) {
                want[ids[i]] += ((float *)side[s].values.data)[i * DIM];
                there[ids[i]] = true;
            }
        }
        cr_assert_eq(rowsum_add(&side[0], &side[1], DIM, &sum), DP_OK);
        uint32_t n = 0;
        for (uint64_t id = 0; id < IDS; id++)
            if (there[id]) {
                cr_assert_eq(sum.list->ids[n], id);
                cr_assert_eq(((float *)sum.values.data)[n * DIM], want[id]);
                n++;
            }
        cr_assert_eq(sum.list->count, n);
        rowsum_release(&sum);
    }
    ASSERT_NO_LEAKS();
}
