/* A look at the data; see look.h. */
#include "worker/data/look.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum {
    VALUES_MAX = 20000000, /* that are looked at */
    COLUMNS_MAX = 1 << 22, /* wider data are not looked at: their columns are words, or hashes of them */
    HALF_FACTOR = 100,     /* beyond what half of the columns have */
    LEAST_FACTOR = 1000,   /* beyond what one has */
    NAMED_MAX = 3,
    NAME_CHARS = 40,
};

static double mean_half_square(const struct data *data)
{
    double sum = 0;
    for (uint64_t r = 0; r < data->rows; r++)
        sum += (double)data->labels[r] * (double)data->labels[r] / 2;
    return sum / (double)data->rows;
}

static uint64_t most_frequent(const struct data *data)
{
    size_t count = data->label_set->labels.count;
    AUTOFREE uint64_t *rows = mem_array_zero(count, sizeof *rows);
    uint64_t most = 0;
    for (uint64_t r = 0; rows && r < data->rows; r++)
        rows[data->classes[r]]++;
    for (size_t i = 0; rows && i < count; i++)
        most = MAX(most, rows[i]);
    return most;
}

void data_look_labels(const struct data *data, struct data_look *look)
{
    if (data->classes && data->label_set && data->rows > 0)
        look->majority = most_frequent(data);
    else if (data->labels && data->rows > 0)
        look->zero_loss = mean_half_square(data);
}

/* ---- columns ---- */

struct column {
    double square; /* sum over values other than 0; then the scale */
    uint64_t count;
    uint64_t number;
};

static void add_value(struct column *column, float value)
{
    if (value == 0)
        return;
    column->square += (double)value * (double)value;
    column->count++;
}

static uint64_t every_row(const struct data *data)
{
    double values =
        data_is_sparse(data) ? (double)data->row_at[data->rows] : (double)data->rows * (double)data->features;
    return (uint64_t)(values / VALUES_MAX) + 1;
}

static void add_rows(const struct data *data, struct column *columns)
{
    for (uint64_t r = 0, every = every_row(data); r < data->rows; r += every) {
        if (data_is_sparse(data))
            for (uint64_t i = data->row_at[r]; i < data->row_at[r + 1]; i++)
                add_value(&columns[data->columns[i]], data->values[i]);
        else
            for (uint64_t c = 0; c < data->features; c++)
                add_value(&columns[c], data->values[r * data->features + c]);
    }
}

static int by_scale(const void *a, const void *b)
{
    const struct column *x = a, *y = b;
    if (x->square != y->square)
        return x->square < y->square ? 1 : -1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Columns that have values, the largest first; returns how many. */
static size_t sort_scales(struct column *columns, uint64_t features)
{
    size_t used = 0;
    for (uint64_t c = 0; c < features; c++)
        if (columns[c].count > 0)
            columns[used++] = (struct column){sqrt(columns[c].square / (double)columns[c].count), columns[c].count, c};
    qsort(columns, used, sizeof *columns, by_scale);
    return used;
}

static void name_column(const struct column *column, const char *const *names, const char *is, struct data_look *look,
                        size_t *at)
{
    if (names && names[column->number])
        (void)str_append(look->scales, sizeof look->scales, at, "%s'%.*s'", *at ? ", " : "", NAME_CHARS,
                         names[column->number]);
    else
        (void)str_append(look->scales, sizeof look->scales, at, "%sfeature %" PRIu64, *at ? ", " : "",
                         column->number + 1);
    (void)str_append(look->scales, sizeof look->scales, at, " %saround %.2g", is, column->square);
}

void data_look_scales(const struct data *data, const char *const *names, struct data_look *look)
{
    if (!data->values || data->features > COLUMNS_MAX)
        return;
    AUTOFREE struct column *columns = mem_array_zero((size_t)data->features, sizeof *columns);
    if (!columns)
        return;
    add_rows(data, columns);
    size_t used = sort_scales(columns, data->features), at = 0;
    if (used < 2)
        return;
    double half = columns[used / 2].square, least = columns[used - 1].square;
    bool beyond_half = columns[0].square >= HALF_FACTOR * half,
         beyond_least = columns[0].square >= LEAST_FACTOR * least;
    if (!beyond_half && !beyond_least)
        return;
    double large = beyond_half ? HALF_FACTOR * half : LEAST_FACTOR * least;
    for (size_t i = 0; i < NAMED_MAX && i + 1 < used && columns[i].square >= large; i++)
        name_column(&columns[i], names, i ? "" : "is ", look, &at);
    name_column(&columns[used - 1], names, "", look, &at);
}
