/* Lists of row ids; see rows.h. Invariant: a list is never changed once it is made, so messages may point into
 * it. Thread: the client's; row_list_drop: any. */
#include "worker/client/state/rows.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "proto/frame_rows.h"

static void list_free(struct row_list *list)
{
    free(list->tables);
    free(list->spans);
    free(list->ids);
    free(list);
}

/* A list with room for `rows` ids. NULL when out of memory. */
static struct row_list *list_new(const struct row_layout *layout, uint64_t rows)
{
    struct row_list *list = mem_array_zero(1, sizeof *list);
    if (!list)
        return NULL;
    list->table_count = layout->table_count;
    list->tables = mem_array_zero(layout->table_count, sizeof *list->tables);
    list->spans = mem_array_zero(layout->part_count, sizeof *list->spans);
    list->ids = mem_array((size_t)rows, sizeof *list->ids);
    atomic_init(&list->refs, 1);
    if (list->tables && list->spans && list->ids)
        return list;
    list_free(list);
    return NULL;
}

/* Index of the first id that is not below `id`. */
static uint64_t ids_find(const dp_rows *rows, uint64_t id)
{
    uint64_t low = 0, high = rows->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (rows->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t table_float_at(const struct row_layout *layout, const struct row_list *list, uint32_t table)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < table; i++)
        at += list->tables[i].count * layout->tables[i].dim;
    return at;
}

static dp_err span_fill(const struct row_layout *layout, const struct row_list *list, uint32_t p, dp_error *err)
{
    const struct part *part = &layout->parts[p];
    const dp_rows *rows = &list->tables[part->table];
    const uint32_t dim = layout->tables[part->table].dim;
    uint64_t begin = ids_find(rows, part->first);
    uint64_t end = part->last == UINT64_MAX ? rows->count : ids_find(rows, part->last + 1);
    uint64_t most = MIN((uint64_t)FRAME_ROWS_MAX, (uint64_t)FRAME_ROWS_FLOATS_MAX / dim);
    if (end - begin > most)
        return dp_fail(err, DP_RANGE,
                       "a step of this worker touches %llu rows of one part of a table, and %llu are the most that a "
                       "message has room for; take a smaller --batch, more --shards or more workers",
                       (unsigned long long)(end - begin), (unsigned long long)most);
    list->spans[p] = (struct row_span){.ids = rows->ids + begin,
                                       .count = (uint32_t)(end - begin),
                                       .hash = frame_keys_hash(rows->ids + begin, (size_t)(end - begin)),
                                       .float_at = table_float_at(layout, list, part->table) + begin * dim,
                                       .floats = (end - begin) * dim};
    return DP_OK;
}

/* Fills in all that follows from the tables' ids. Takes the list if it fails. */
static dp_err list_finish(const struct row_layout *layout, struct row_list *list, struct row_list **ret_list,
                          dp_error *err)
{
    dp_err e = DP_OK;
    list->floats = table_float_at(layout, list, layout->table_count);
    for (uint32_t p = 0; e == DP_OK && p < layout->part_count; p++)
        e = span_fill(layout, list, p, err);
    if (e)
        list_free(list);
    else
        *ret_list = list;
    return e;
}

static dp_err ids_check(const struct table *table, const dp_rows *rows, dp_error *err)
{
    bool ascending = true;
    if (rows->count > 0 && !rows->ids)
        return dp_fail(err, DP_USAGE, "%llu row ids of tensor %u are announced, and `ids` is NULL",
                       (unsigned long long)rows->count, table->tensor);
    for (uint64_t i = 1; i < rows->count; i++)
        ascending &= rows->ids[i - 1] < rows->ids[i];
    if (!ascending)
        return dp_fail(err, DP_USAGE, "row ids of tensor %u are not strictly ascending", table->tensor);
    if (rows->count > 0 && rows->ids[rows->count - 1] > table->last_row)
        return dp_fail(err, DP_USAGE, "row %llu of tensor %u, whose last row is %llu",
                       (unsigned long long)rows->ids[rows->count - 1], table->tensor,
                       (unsigned long long)table->last_row);
    return DP_OK;
}

static dp_err no_memory(uint64_t rows, dp_error *err)
{
    return dp_fail(err, DP_NOMEM, "no memory for a list of %llu rows", (unsigned long long)rows);
}

dp_err row_list_new(const struct row_layout *layout, const dp_rows *rows, struct row_list **ret_list, dp_error *err)
{
    uint64_t total = 0;
    dp_err e = DP_OK;
    for (uint32_t i = 0; e == DP_OK && i < layout->table_count; i++) {
        e = ids_check(&layout->tables[i], &rows[i], err);
        total += rows[i].count;
    }
    if (e)
        return e;
    struct row_list *list = list_new(layout, total);
    if (!list)
        return no_memory(total, err);
    uint64_t *at = list->ids;
    for (uint32_t i = 0; i < layout->table_count; i++) {
        list->tables[i] = (dp_rows){at, rows[i].count};
        if (rows[i].count > 0)
            memcpy(at, rows[i].ids, rows[i].count * sizeof *at);
        at += rows[i].count;
    }
    return list_finish(layout, list, ret_list, err);
}

void row_list_keep(struct row_list *list)
{
    unsigned before = atomic_fetch_add_explicit(&list->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

void row_list_drop(struct row_list *list)
{
    if (list && atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) == 1)
        list_free(list);
}

void row_list_drop_message(void *ids, void *list)
{
    (void)ids;
    row_list_drop(list);
}

/* The union of two ascending lists; returns how long it is. */
static uint64_t ids_merge(const dp_rows *a, const dp_rows *b, uint64_t *out)
{
    uint64_t i = 0, k = 0, n = 0;
    while (i < a->count && k < b->count) {
        uint64_t x = a->ids[i], y = b->ids[k];
        out[n++] = MIN(x, y);
        i += x <= y;
        k += y <= x;
    }
    for (; i < a->count; i++)
        out[n++] = a->ids[i];
    for (; k < b->count; k++)
        out[n++] = b->ids[k];
    return n;
}

static uint64_t list_rows(const struct row_list *list)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < list->table_count; i++)
        rows += list->tables[i].count;
    return rows;
}

dp_err row_list_merge(const struct row_layout *layout, const struct row_list *a, const struct row_list *b,
                      struct row_list **ret_list, dp_error *err)
{
    uint64_t most = list_rows(a) + list_rows(b);
    struct row_list *list = list_new(layout, most);
    if (!list)
        return no_memory(most, err);
    uint64_t *at = list->ids;
    for (uint32_t i = 0; i < layout->table_count; i++) {
        list->tables[i] = (dp_rows){at, ids_merge(&a->tables[i], &b->tables[i], at)};
        at += list->tables[i].count;
    }
    return list_finish(layout, list, ret_list, err);
}

static void table_spread(uint32_t dim, const dp_rows *from, const float *from_values, const dp_rows *to,
                         float *to_values)
{
    uint64_t i = 0;
    for (uint64_t k = 0; k < to->count; k++) {
        float *out = to_values + k * dim;
        if (i < from->count && from->ids[i] == to->ids[k])
            memcpy(out, from_values + i++ * dim, dim * sizeof *out);
        else
            memset(out, 0, dim * sizeof *out);
    }
}

void row_values_spread(const struct row_layout *layout, const struct row_list *from, const float *from_values,
                       const struct row_list *to, float *to_values)
{
    for (uint32_t i = 0; i < layout->table_count; i++) {
        const uint32_t dim = layout->tables[i].dim;
        table_spread(dim, &from->tables[i], from_values, &to->tables[i], to_values);
        from_values += from->tables[i].count * dim;
        to_values += to->tables[i].count * dim;
    }
}
