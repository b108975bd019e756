/* The label of a CSV file for classification that has no header: the one column of whole numbers or words among columns
 * of fractions, if its values come again. A look at the first rows, so that a file by blocks is taken like a whole one:
 * more rows may take the answer back, but never change it. Thread: any. */
#include "worker/data/csv/guess.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/data/csv/field.h"
#include "worker/data/parse/number.h"

enum { LOOK_ROWS = 100, LOOK_ROWS_LEAST = 10 };

static bool is_fraction(const struct field *field)
{
    float value;
    const char *end = field->at + field->n;
    return number_scan(field->at, end, &value) == end && value != floorf(value);
}

/* Marks the columns that have fractions; returns how many rows were looked at, 0 where one could not be read. */
static size_t find_fractions(const struct csv *csv, bool *fractions)
{
    struct csv look = *csv;
    size_t rows = 0;
    look.err = NULL;
    for (; rows < LOOK_ROWS && csv_row_begin(&look); rows++) {
        struct field field = {0};
        for (uint64_t i = 0; i < csv->fields; i++) {
            if (field.last || csv_field_read(&look, &field))
                return 0;
            fractions[i] |= is_fraction(&field);
        }
        if (!field.last)
            return 0;
    }
    return rows;
}

/* Counts the different texts that the column has in the first rows. */
static size_t count_distinct(const struct csv *csv, uint64_t column)
{
    struct csv look = *csv;
    struct field seen[LOOK_ROWS] = {0};
    size_t distinct = 0;
    look.err = NULL;
    for (size_t row = 0; row < LOOK_ROWS && csv_row_begin(&look); row++) {
        struct field field = {0}, found = {.at = ""};
        for (uint64_t i = 0; i < csv->fields && !field.last && csv_field_read(&look, &field) == DP_OK; i++)
            found = i == column ? field : found;
        size_t at = 0;
        while (at < distinct && (seen[at].n != found.n || strncmp(seen[at].at, found.at, found.n) != 0))
            at++;
        seen[at] = found;
        distinct += at == distinct;
    }
    return distinct;
}

bool csv_label_stands_out(const struct csv *csv, uint64_t *ret_column)
{
    if (csv->has_header || csv->source->label_use != LABEL_CLASSES)
        return false;
    AUTOFREE bool *fractions = mem_array_zero(csv->fields, sizeof *fractions);
    size_t rows = fractions ? find_fractions(csv, fractions) : 0;
    uint64_t whole = 0, column = 0;
    for (uint64_t i = 0; rows >= LOOK_ROWS_LEAST && i < csv->fields; i++) {
        if (csv->to[i] == CSV_SKIP || fractions[i])
            continue;
        whole++;
        column = i;
    }
    if (whole != 1 || 2 * count_distinct(csv, column) > rows)
        return false;
    *ret_column = column;
    return true;
}
