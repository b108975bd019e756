/* CSV (RFC 4180): a row of numbers a line, one column the label, a header if any field of the first row is no number.
 * The delimiter is the first of , ; or tab that the first row has outside quotes. Blank lines are skipped; blanks
 * around a field are not part of it. Invariant: the matrix is as large as the text can need, counted beforehand, so
 * that nothing grows while reading. Thread: any. */
#include "data_parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

enum { COLUMN_NAME_MAX = QUOTE_MAX + 32, COLUMN_LIST_MAX = 200 };

struct csv {
    struct text text; /* line is that of the row being read */
    uint64_t line;    /* of text.at; ahead of text.line inside a quoted field with line breaks */
    struct text header;
    bool has_header;
    const struct data_source *source;
    struct data *data;
    char delimiter;
    uint64_t fields; /* of the first row */
    uint64_t label;  /* column of the label, from 0; UINT64_MAX: none */
    dp_error *err;
};

/* A field without the quotes and blanks around it; inside quotes, "" stands for a quote. */
struct field {
    const char *at;
    size_t n;
    bool quoted;
    bool last; /* of its row */
};

static bool is_blank(const struct csv *csv, char c)
{
    return c == ' ' || c == '\r' || (c == '\t' && csv->delimiter != '\t');
}

static void blanks_skip(struct csv *csv)
{
    while (csv->text.at < csv->text.end && is_blank(csv, *csv->text.at))
        csv->text.at++;
}

/* The inside of a quoted field; `text.at` is behind the opening quote and is left behind the closing one. */
static dp_err quoted_read(struct csv *csv, struct field *field)
{
    struct text *text = &csv->text;
    field->quoted = true;
    field->at = text->at;
    for (;; text->at++) {
        if (text->at == text->end)
            return text_fail(text, csv->err, "a quoted field has no closing quote; add a \" where it ends");
        csv->line += *text->at == '\n';
        if (*text->at != '"')
            continue;
        if (text->end - text->at < 2 || text->at[1] != '"')
            break;
        text->at++;
    }
    field->n = (size_t)(text->at++ - field->at);
    blanks_skip(csv);
    if (text->at < text->end && *text->at != csv->delimiter && *text->at != '\n')
        return text_fail(text, csv->err, "text after the closing quote of a field; double the quotes inside it");
    return DP_OK;
}

static void plain_read(struct csv *csv, struct field *field)
{
    const char *p = csv->text.at;
    field->at = p;
    while (p < csv->text.end && *p != csv->delimiter && *p != '\n')
        p++;
    csv->text.at = p;
    while (p > field->at && is_blank(csv, p[-1]))
        p--;
    field->n = (size_t)(p - field->at);
}

/* Reads the next field of the row and its delimiter or newline. */
static dp_err field_read(struct csv *csv, struct field *field)
{
    struct text *text = &csv->text;
    blanks_skip(csv);
    field->quoted = false;
    if (text->at < text->end && *text->at == '"') {
        text->at++;
        dp_err e = quoted_read(csv, field);
        if (e)
            return e;
    } else {
        plain_read(csv, field);
    }
    field->last = text->at == text->end || *text->at == '\n';
    csv->line += text->at < text->end && *text->at == '\n';
    text->at += text->at < text->end;
    return DP_OK;
}

/* Goes to the next row that is not blank; false at the end. */
static bool row_begin(struct csv *csv)
{
    for (blanks_skip(csv); csv->text.at < csv->text.end && *csv->text.at == '\n'; blanks_skip(csv)) {
        csv->text.at++;
        csv->line++;
    }
    csv->text.line = csv->line;
    return csv->text.at < csv->text.end;
}

/* Name of a column for people: "column 3 ('age')". */
static const char *column_name(const struct csv *csv, uint64_t column, char buf[COLUMN_NAME_MAX])
{
    size_t used = 0;
    (void)str_append(buf, COLUMN_NAME_MAX, &used, "column %" PRIu64, column);
    if (!csv->has_header)
        return buf;
    struct csv again = *csv;
    again.text = csv->header;
    again.err = NULL;
    struct field field = {0};
    for (uint64_t i = 0; i <= column && !field.last; i++)
        if (field_read(&again, &field))
            return buf;
    char quote[QUOTE_MAX];
    (void)str_append(buf, COLUMN_NAME_MAX, &used, " (%s)", token_quote(quote, field.at, field.n));
    return buf;
}

/* Whether the field's text is `name`. */
static bool field_is(const struct field *field, const char *name)
{
    size_t i = 0;
    for (; i < field->n && *name; i++, name++) {
        if (field->at[i] != *name)
            return false;
        if (field->quoted && field->at[i] == '"')
            i++;
    }
    return i == field->n && !*name;
}

/* The names of the header, as many as there is room for. */
static void header_list(const struct csv *csv, char buf[COLUMN_LIST_MAX])
{
    struct csv again = *csv;
    again.text = csv->header;
    again.err = NULL;
    size_t used = 0;
    struct field field = {0};
    buf[0] = '\0';
    for (uint64_t i = 0; i < csv->fields && !field_read(&again, &field); i++) {
        char quote[QUOTE_MAX];
        if (used > COLUMN_LIST_MAX - QUOTE_MAX - 6) {
            (void)str_append(buf, COLUMN_LIST_MAX, &used, ", ...");
            return;
        }
        (void)str_append(buf, COLUMN_LIST_MAX, &used, "%s%s", i ? ", " : "", token_quote(quote, field.at, field.n));
    }
}

/* Column of the header with this name; false if there is none. */
static bool header_find(const struct csv *csv, const char *name, uint64_t *ret_column)
{
    struct csv again = *csv;
    again.text = csv->header;
    again.err = NULL;
    struct field field = {0};
    for (uint64_t i = 0; csv->has_header && i < csv->fields && !field_read(&again, &field); i++) {
        if (field_is(&field, name)) {
            *ret_column = i;
            return true;
        }
    }
    return false;
}

/* Settles which column is the label. */
static dp_err label_find(struct csv *csv)
{
    const char *wanted = csv->source->label_column;
    csv->label = csv->source->unlabelled ? UINT64_MAX : 0;
    if (csv->source->unlabelled)
        return DP_OK;
    if (header_find(csv, wanted ? wanted : "label", &csv->label) || !wanted)
        return DP_OK;
    char *after;
    errno = 0;
    long long n = strtoll(wanted, &after, 10);
    long long fields = (long long)csv->fields;
    if (!errno && after != wanted && !*after && n >= -fields && n < fields) {
        csv->label = (uint64_t)(n < 0 ? n + fields : n);
        return DP_OK;
    }
    char names[COLUMN_LIST_MAX] = "it has no header";
    if (csv->has_header)
        header_list(csv, names);
    return dp_fail(csv->err, DP_DATA,
                   "%s: --label-column '%.60s' is none of its %lld columns; give 0 to %lld, -1 for the last, "
                   "or a name of the header (%s)",
                   csv->text.name, wanted, fields, fields - 1, names);
}

static void delimiter_find(struct csv *csv)
{
    bool quoted = false;
    csv->delimiter = ',';
    for (const char *p = csv->text.at; p < csv->text.end && (quoted || *p != '\n'); p++) {
        quoted ^= *p == '"';
        if (!quoted && (*p == ',' || *p == ';' || *p == '\t')) {
            csv->delimiter = *p;
            return;
        }
    }
}

/* Counts the fields of the first row and decides whether it is a header. */
static dp_err first_row_look(struct csv *csv)
{
    struct field field = {0};
    delimiter_find(csv);
    while (!field.last) {
        dp_err e = field_read(csv, &field);
        if (e)
            return e;
        csv->fields++;
        csv->has_header |= field.n > 0 && !number_like(field.at, field.n);
    }
    return DP_OK;
}

/* Settles delimiter, fields and header; a first row that is no header is left to be read again. */
static dp_err first_row_read(struct csv *csv)
{
    if (!row_begin(csv))
        return dp_fail(csv->err, DP_DATA, "%s: has no rows, only blank lines", csv->text.name);
    csv->header = csv->text;
    csv->delimiter = csv->source->delimiter;
    csv->fields = csv->source->fields;
    uint64_t line = csv->line;
    dp_err e = csv->fields ? DP_OK : first_row_look(csv);
    if (e)
        return e;
    if (csv->fields < 2 && !csv->source->unlabelled)
        return text_fail(&csv->text, csv->err,
                         "one column only; a row needs a label and at least one feature, "
                         "separated by ',' ';' or tab");
    if (!csv->has_header) {
        csv->text = csv->header;
        csv->line = line;
    }
    return DP_OK;
}

struct csv_head csv_head_read(const char *bytes, size_t size)
{
    static const struct data_source NOBODY = {.unlabelled = true};
    struct csv csv = {.line = 1, .source = &NOBODY};
    struct field field = {0};
    text_init(&csv.text, "", bytes, size);
    bool good = first_row_read(&csv) == DP_OK;
    for (uint64_t i = 0; good && !csv.has_header && i < csv.fields; i++)
        good = field_read(&csv, &field) == DP_OK;
    if (!good)
        return (struct csv_head){0};
    return (struct csv_head){.whole = csv.text.at[-1] == '\n',
                             .header_bytes = csv.has_header ? (size_t)(csv.text.at - bytes) : 0,
                             .header_lines = csv.has_header ? csv.line - 1 : 0,
                             .delimiter = csv.delimiter,
                             .fields = csv.fields};
}

static dp_err value_read(struct csv *csv, const struct field *field, uint64_t column, float *ret_value)
{
    if (number_scan(field->at, field->at + field->n, ret_value) == field->at + field->n)
        return DP_OK;
    char quote[QUOTE_MAX], name[COLUMN_NAME_MAX];
    return text_fail(&csv->text, csv->err, "%s: %s %s", column_name(csv, column, name),
                     token_quote(quote, field->at, field->n), number_fault(field->at, field->n));
}

/* The label of the row: blanks around it are not part of it, also inside of quotes. */
static dp_err label_take(struct csv *csv, const struct field *field)
{
    char plain[LABEL_TEXT_MAX + 1];
    const char *at = field->at, *fault = NULL;
    size_t n = field->n;
    while (n && (is_blank(csv, at[n - 1]) || at[n - 1] == '\t'))
        n--;
    while (n && (is_blank(csv, *at) || *at == '\t'))
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
    char quote[QUOTE_MAX], name[COLUMN_NAME_MAX];
    return e ? text_fail(&csv->text, csv->err, "%s, the label: %s %s", column_name(csv, csv->label, name),
                         token_quote(quote, at, n), fault)
             : DP_OK;
}

static dp_err ragged_fail(struct csv *csv, uint64_t fields, bool more)
{
    return text_fail(&csv->text, csv->err,
                     "%s%" PRIu64 " fields, but the first row has %" PRIu64 "; every row needs the same number",
                     more ? "more than " : "", fields, csv->fields);
}

static dp_err row_read(struct csv *csv)
{
    struct data *data = csv->data;
    float *out = data->values + data->rows * data->features;
    struct field field = {0};
    uint64_t i = 0;
    dp_err e = csv->label == UINT64_MAX ? label_take(csv, &field) : DP_OK;
    for (; !e && i < csv->fields && !field.last; i++) {
        e = field_read(csv, &field);
        if (!e)
            e = i == csv->label ? label_take(csv, &field) : value_read(csv, &field, i, out++);
    }
    if (e)
        return e;
    if (i < csv->fields)
        return ragged_fail(csv, i, false);
    if (!field.last)
        return ragged_fail(csv, i, true);
    data->rows++;
    return DP_OK;
}

/* Room for every row the text can hold, and for one that turns out to be broken. A row of f fields has at least
 * 2f - 1 characters and a newline. */
static dp_err matrix_new(struct csv *csv)
{
    struct data *data = csv->data;
    uint64_t bytes = (uint64_t)(csv->text.end - csv->text.at);
    uint64_t rows_max = MIN(text_count(&csv->text, '\n'), bytes / (2 * csv->fields)) + 1;
    uint64_t values;
    bool labelled = false;
    if (!__builtin_mul_overflow(rows_max, data->features, &values)) {
        labelled = row_labels_room(csv->source, rows_max, data);
        data->values = mem_array(values, sizeof *data->values);
    }
    if (!labelled || !data->values)
        return dp_fail(csv->err, DP_NOMEM, "%s: not enough memory for %" PRIu64 " rows of %" PRIu64 " features",
                       csv->text.name, rows_max, data->features);
    return DP_OK;
}

static dp_err features_check(struct csv *csv)
{
    bool labelled = !csv->source->unlabelled;
    uint64_t features = csv->fields - labelled, wanted = csv->source->features;
    csv->data->features = features;
    if (wanted == 0 || wanted == features)
        return DP_OK;
    return dp_fail(csv->err, DP_DATA,
                   "%s: has %" PRIu64 " features (%" PRIu64 " columns, %s the label), but the job has %" PRIu64
                   "; take data of the same kind, or start dp-server with --features %" PRIu64,
                   csv->text.name, features, csv->fields, labelled ? "one of them" : "none of them", wanted, features);
}

dp_err csv_parse(const struct data_source *source, const void *bytes, size_t size, struct data *data, dp_error *err)
{
    struct csv csv = {.line = MAX(source->first_line, 1), .source = source, .data = data, .err = err};
    text_init(&csv.text, source->path, bytes, size);
    dp_err e = first_row_read(&csv);
    if (!e)
        e = label_find(&csv);
    if (!e)
        e = features_check(&csv);
    if (!e)
        e = matrix_new(&csv);
    while (!e && row_begin(&csv)) {
        e = row_read(&csv);
        if (!e && data->rows % STOP_LINES == 0)
            e = data_stopped(source->stop, err);
    }
    if (!e && data->rows == 0)
        e = dp_fail(err, DP_DATA, "%s: has a header and no rows", csv.text.name);
    return e;
}
