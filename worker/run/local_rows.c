/* Rows over the columns that they touch; see local_rows.h. Entries are sorted by column with a radix sort: its cost
 * does not depend on how many columns there could be, as that of a bitmap or of an array of places would. Thread: one.
 */
#include "worker/run/local_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

/* A key has the column above and the entry's place below. */
static uint64_t key_make(uint32_t column, uint64_t place)
{
    return (uint64_t)column << 32 | place;
}

static uint32_t key_column(uint64_t key)
{
    return (uint32_t)(key >> 32);
}

static uint32_t key_place(uint64_t key)
{
    return (uint32_t)key;
}

/* One pass of a stable sort by the digit at `shift`. */
static void radix_pass(const uint64_t *from, uint64_t count, unsigned shift, uint64_t *to)
{
    uint64_t at[DIGITS] = {0}, sum = 0;
    for (uint64_t i = 0; i < count; i++)
        at[from[i] >> shift & (DIGITS - 1)]++;
    for (size_t d = 0; d < DIGITS; d++) {
        uint64_t n = at[d];
        at[d] = sum;
        sum += n;
    }
    for (uint64_t i = 0; i < count; i++)
        to[at[from[i] >> shift & (DIGITS - 1)]++] = from[i];
}

/* Sorts local->keys by column, of which none is above `largest`. */
static void keys_sort(struct local_rows *local, uint64_t count, uint32_t largest)
{
    for (unsigned shift = 32; shift < 64 && (uint64_t)largest << 32 >> shift > 0; shift += DIGIT_BITS) {
        radix_pass(local->keys, count, shift, local->spare);
        uint64_t *keys = local->keys;
        local->keys = local->spare;
        local->spare = keys;
    }
}

/* At least `wanted` elements of `size` bytes, whose contents are lost. */
static void *room(void *old, uint64_t wanted, size_t size)
{
    free(old);
    return mem_array((size_t)wanted, size);
}

static dp_err rows_room(struct local_rows *local, uint64_t rows, uint64_t entries)
{
    if (rows > local->rows_max || !local->targets) {
        local->rows_max = rows + rows / 2;
        local->targets = room(local->targets, local->rows_max, sizeof *local->targets);
        local->data.row_at = room(local->data.row_at, local->rows_max + 1, sizeof *local->data.row_at);
    }
    if (entries > local->entries_max || !local->keys) {
        local->entries_max = entries + entries / 2;
        local->keys = room(local->keys, local->entries_max, sizeof *local->keys);
        local->spare = room(local->spare, local->entries_max, sizeof *local->spare);
        local->columns = room(local->columns, local->entries_max, sizeof *local->columns);
        local->data.columns = room(local->data.columns, local->entries_max, sizeof *local->data.columns);
        local->data.values = room(local->data.values, local->entries_max, sizeof *local->data.values);
    }
    return local->targets && local->data.row_at && local->keys && local->spare && local->columns &&
                   local->data.columns && local->data.values
               ? DP_OK
               : DP_NOMEM;
}

/* Copies the rows and makes a key of each entry; returns the largest column. */
static uint32_t rows_copy(struct local_rows *local, const struct data *data, const float *targets, const uint64_t *rows,
                          uint64_t count)
{
    uint64_t at = 0;
    uint32_t largest = 0;
    local->data.row_at[0] = 0;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t begin = data->row_at[rows[i]], end = data->row_at[rows[i] + 1];
        for (uint64_t e = begin; e < end; e++, at++) {
            local->data.values[at] = data->values[e];
            local->keys[at] = key_make(data->columns[e], at);
            largest = MAX(largest, data->columns[e]);
        }
        local->data.row_at[i + 1] = at;
        local->targets[i] = targets[rows[i]];
    }
    return largest;
}

/* From sorted keys to the columns there are and each entry's place among them. */
static void columns_number(struct local_rows *local, uint64_t entries)
{
    uint32_t found = 0;
    for (uint64_t i = 0; i < entries; i++) {
        uint32_t column = key_column(local->keys[i]);
        if (found == 0 || local->columns[found - 1] != column)
            local->columns[found++] = column;
        local->data.columns[key_place(local->keys[i])] = found - 1;
    }
    local->data.features = found;
}

dp_err local_rows_fill(struct local_rows *local, const struct data *data, const float *targets, const uint64_t *rows,
                       uint64_t count, dp_error *err)
{
    uint64_t entries = 0;
    for (uint64_t i = 0; i < count; i++)
        entries += data->row_at[rows[i] + 1] - data->row_at[rows[i]];
    if (entries > UINT32_MAX)
        return dp_fail(err, DP_DATA, "%s: a step's share of a worker has %" PRIu64 " entries; take a smaller --batch",
                       data->name, entries);
    if (rows_room(local, count, entries))
        return dp_fail(err, DP_NOMEM, "%s: out of memory for %" PRIu64 " entries", data->name, entries);
    keys_sort(local, entries, rows_copy(local, data, targets, rows, count));
    columns_number(local, entries);
    local->data.rows = count;
    return DP_OK;
}

void local_rows_fini(struct local_rows *local)
{
    data_fini(&local->data);
    free(local->columns);
    free(local->targets);
    free(local->keys);
    free(local->spare);
    *local = (struct local_rows){0};
}
