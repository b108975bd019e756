/* CSV (RFC 4180): a row of numbers a line, one column the label, maybe a header (head.c). Blank lines are
 * skipped; blanks around a field are not part of it. Invariant: the matrix is as large as the text can need, counted
 * beforehand, so that nothing grows while reading. Thread: any. */
#include "worker/data/csv/csv.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/util.h"
#include "worker/data/csv/columns.h"
#include "worker/data/csv/field.h"
#include "worker/data/csv/head.h"
#include "worker/data/csv/names.h"
#include "worker/data/parse/label.h"
#include "worker/data/parse/number.h"
#include "worker/data/parse/text.h"

static dp_err value_read(struct csv *csv, const struct field *field, uint64_t column, float *ret_value)
{
    if (number_scan(field->at, field->at + field->n, ret_value) == field->at + field->n)
        return DP_OK;
    char quote[QUOTE_MAX], name[COLUMN_TEXT_MAX];
    bool text = field->n > 0 && !number_like(field->at, field->n);
    return text_fail(&csv->text, csv->err, "%s: %s %s%s", csv_column_text(csv, column, name),
                     token_quote(quote, field->at, field->n), number_fault(field->at, field->n),
                     text ? "; correct it, or leave the column out by --ignore-columns" : "");
}

/* The label of the row: blanks around it are not part of it, also inside of quotes. */
static dp_err label_take(struct csv *csv, const struct field *field)
{
    char plain[LABEL_TEXT_MAX + 1];
    const char *at = field->at, *fault = NULL;
    size_t n = field->n;
    while (n && (csv_is_blank(csv, at[n - 1]) || at[n - 1] == '\t'))
        n--;
    while (n && (csv_is_blank(csv, *at) || *at == '\t'))
        at++, n--;
    if (field->quoted && n <= LABEL_TEXT_MAX && memchr(at, '"', n)) {
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            i += at[i] == '"';
            plain[kept++] = at[i];
        }
        at = plain;
        n = kept;
    }
    dp_err e = row_label_take(csv->source, csv->data, at, n, csv->text.line, &fault);
    if (e == DP_NOMEM)
        return dp_fail(csv->err, e, "%s: out of memory for its labels", csv->text.name);
    char quote[QUOTE_MAX], name[COLUMN_TEXT_MAX];
    return e ? text_fail(&csv->text, csv->err, "%s, the label: %s %s", csv_column_text(csv, csv->label, name),
                         token_quote(quote, at, n), fault)
             : DP_OK;
}

/* The row has no label; what is kept of it is that of source->unlabelled. */
static dp_err no_label_take(struct csv *csv)
{
    struct data_source source = *csv->source;
    const char *fault = NULL;
    source.unlabelled = true;
    dp_err e = row_label_take(&source, csv->data, "", 0, csv->text.line, &fault);
    return e ? dp_fail(csv->err, e, "%s: out of memory for its labels", csv->text.name) : DP_OK;
}

/* Puts the field where its column goes; `out` is the row's features. */
static dp_err field_take(struct csv *csv, const struct field *field, uint64_t column, float *out)
{
    if (column == csv->label)
        return label_take(csv, field);
    return csv->to[column] == CSV_SKIP ? DP_OK : value_read(csv, field, column, out + csv->to[column]);
}

static dp_err ragged_fail(struct csv *csv, uint64_t fields, bool more)
{
    return text_fail(&csv->text, csv->err,
                     "%s%" PRIu64 " field%s, but the first row has %" PRIu64 "; every row needs the same number",
                     more ? "more than " : "", fields, human_s(fields), csv->fields);
}

/* A row with too few or too many fields has others than its own under most columns: their number is what is wrong, and
 * not the first that is no number. `row`: the same file where the row begins. */
static dp_err row_fail(struct csv *csv, struct csv *row, dp_err e)
{
    struct field field = {0};
    uint64_t fields = 0;
    row->err = NULL;
    if (e != DP_DATA || !csv->err)
        return e;
    for (dp_err read = DP_OK; !field.last && !read; fields += !read)
        read = csv_field_read(row, &field);
    return field.last && fields != csv->fields ? ragged_fail(csv, fields, false) : e;
}

static dp_err row_read(struct csv *csv)
{
    struct csv begin = *csv;
    struct data *data = csv->data;
    float *out = data->values + data->rows * data->features;
    struct field field = {0};
    uint64_t i = 0;
    assert(data->rows < csv->rows_max);
    dp_err e = csv->label == UINT64_MAX ? no_label_take(csv) : DP_OK;
    for (; !e && i < csv->fields && !field.last; i++) {
        e = csv_field_read(csv, &field);
        if (!e)
            e = field_take(csv, &field, i, out);
    }
    if (e)
        return row_fail(csv, &begin, e);
    if (i < csv->fields)
        return ragged_fail(csv, i, false);
    if (!field.last)
        return ragged_fail(csv, i, true);
    data->rows++;
    return DP_OK;
}

/* Room for every row the text can hold, and for one that turns out to be broken. A row of f fields has
 * f - 1 delimiters and a newline, and at least one character in each of its features. */
static dp_err matrix_new(struct csv *csv)
{
    struct data *data = csv->data;
    uint64_t bytes = (uint64_t)(csv->text.end - csv->text.at);
    uint64_t rows_max = MIN(text_count(&csv->text, '\n'), bytes / (csv->fields + data->features)) + 1;
    uint64_t values;
    bool labelled = false;
    csv->rows_max = rows_max;
    if (!__builtin_mul_overflow(rows_max, data->features, &values)) {
        uint64_t label_bytes = rows_max * sizeof *data->labels;
        if (mem_check_room(csv->text.name, label_bytes + values * sizeof *data->values, csv->err))
            return DP_NOMEM;
        labelled = row_labels_room(csv->source, rows_max, data);
        data->values = mem_array(values, sizeof *data->values);
    }
    if (!labelled || !data->values)
        return dp_fail(csv->err, DP_NOMEM, "%s: not enough memory for %" PRIu64 " rows of %" PRIu64 " features",
                       csv->text.name, rows_max, data->features);
    return DP_OK;
}

dp_err csv_parse(const struct data_source *source, const void *bytes, size_t size, struct data *data, dp_error *err)
{
    struct csv csv = {.line = MAX(source->first_line, 1), .source = source, .data = data, .err = err};
    text_init(&csv.text, source->path, bytes, size);
    dp_err e = DP_OK;
    if (source->layout)
        csv_layout_take(&csv, source->layout);
    else
        e = csv_first_row_read(&csv);
    if (!e && !source->layout)
        e = csv_columns_settle(&csv);
    if (!e)
        e = matrix_new(&csv);
    while (!e && csv_row_begin(&csv)) {
        e = row_read(&csv);
        if (!e && data->rows % STOP_LINES == 0)
            e = data_stopped(source->stop, err);
    }
    if (!e && data->rows == 0)
        e = dp_fail(err, DP_DATA, "%s: has a header and no rows", csv.text.name);
    csv_columns_fini(&csv);
    return e;
}
