/* Hashed features; see hash.h. Invariant: what a row becomes is a function of that row and the seed alone. Thread:
 * any. */
#include "worker/data/hash.h"

#include <endian.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

#include "common/base/mem.h"
#include "common/base/util.h"

uint32_t data_hash_column(uint64_t index, uint32_t bits, uint64_t seed)
{
    uint64_t bytes = htole64(index);
    return (uint32_t)(XXH64(&bytes, sizeof bytes, seed) & ((UINT64_C(1) << bits) - 1));
}

struct entry {
    uint32_t column;
    uint32_t place; /* in the row as it was read */
    float value;
};

static int entry_compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

static uint64_t longest_row(const struct data *data)
{
    uint64_t longest = 0;
    for (uint64_t r = 0; r < data->rows; r++)
        longest = MAX(longest, data->row_at[r + 1] - data->row_at[r]);
    return longest;
}

/* Sorts one row and writes it from *at on, which is not behind where it was and is left where it ends. False where
 * values are too large to be added up. */
static bool row_settle(struct data *data, uint64_t from, uint64_t end, uint64_t *at, struct entry *entries)
{
    uint64_t count = end - from, first = *at, to = first;
    bool finite = true;
    for (uint64_t i = 0; i < count; i++)
        entries[i] = (struct entry){data->columns[from + i], (uint32_t)i, data->values[from + i]};
    qsort(entries, (size_t)count, sizeof *entries, entry_compare);
    for (uint64_t i = 0; i < count; i++) {
        if (to > first && data->columns[to - 1] == entries[i].column) {
            data->values[to - 1] += entries[i].value;
            finite &= isfinite(data->values[to - 1]) != 0;
            continue;
        }
        data->columns[to] = entries[i].column;
        data->values[to++] = entries[i].value;
    }
    *at = to;
    return finite;
}

dp_err data_hash_settle(struct data *data, dp_error *err)
{
    uint64_t longest = longest_row(data), to = 0, from = 0;
    if (longest > UINT32_MAX)
        return dp_fail(err, DP_DATA, "%s: a row of more than %u features", data->name, UINT32_MAX);
    AUTOFREE struct entry *entries = mem_array((size_t)longest, sizeof *entries);
    if (!entries)
        return dp_fail(err, DP_NOMEM, "%s: out of memory", data->name);
    for (uint64_t r = 0; r < data->rows; r++) {
        uint64_t end = data->row_at[r + 1];
        if (!row_settle(data, from, end, &to, entries))
            return dp_fail(err, DP_DATA,
                           "%s: row %" PRIu64 ": features that were hashed to one column have a sum that "
                           "is not finite; scale the values, or take more --hash-bits",
                           data->name, r + 1);
        data->row_at[r + 1] = to;
        from = end;
    }
    return DP_OK;
}
