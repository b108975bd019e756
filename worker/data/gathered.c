/* Rows picked from a set; see gathered.h. Thread: one. */
#include "worker/data/gathered.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/data/data.h"

void gathered_fini(struct gathered *gathered)
{
    data_fini(&gathered->data);
    *gathered = (struct gathered){0};
}

/* Grows *array, with what is in it, to `room` things; false when out of memory. */
static bool grow(void *array, uint64_t room, size_t size)
{
    void **at = array;
    void *more = mem_array(room, size);
    if (!more)
        return false;
    free(*at);
    *at = more;
    return true;
}

static bool rows_reserve(struct gathered *g, uint64_t rows, bool classes, bool sparse)
{
    if (rows <= g->rows_room && g->rows_room)
        return true;
    g->rows_room = rows + 1;
    return (classes ? grow(&g->data.classes, g->rows_room, sizeof(uint32_t))
                    : grow(&g->data.labels, g->rows_room, sizeof(float))) &&
           (!sparse || grow(&g->data.row_at, g->rows_room + 1, sizeof(uint64_t)));
}

static bool values_reserve(struct gathered *g, uint64_t values, bool sparse)
{
    if (values <= g->values_room && g->values_room)
        return true;
    g->values_room = values + values / 4 + 1;
    return grow(&g->data.values, g->values_room, sizeof(float)) &&
           (!sparse || grow(&g->data.columns, g->values_room, sizeof(uint32_t)));
}

uint64_t gathered_row_values(const struct data *data, uint64_t row)
{
    return data_is_sparse(data) ? data->row_at[row + 1] - data->row_at[row] : data->features;
}

bool gathered_reserve(struct gathered *gathered, uint64_t rows, uint64_t values, bool classes, bool sparse)
{
    return rows_reserve(gathered, rows, classes, sparse) && values_reserve(gathered, values, sparse);
}

void gathered_put(struct gathered *gathered, uint64_t i, uint64_t at, const struct data *from, uint64_t row)
{
    struct data *to = &gathered->data;
    uint64_t n = gathered_row_values(from, row),
             first = data_is_sparse(from) ? from->row_at[row] : row * from->features;
    assert(i < gathered->rows_room && at + n <= gathered->values_room);
    if (from->classes)
        to->classes[i] = from->classes[row];
    else
        to->labels[i] = from->labels[row];
    memcpy(to->values + at, from->values + first, n * sizeof *to->values);
    if (!data_is_sparse(from))
        return;
    memcpy(to->columns + at, from->columns + first, n * sizeof *to->columns);
    to->row_at[i + 1] = at + n;
}
