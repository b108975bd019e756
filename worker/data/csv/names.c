/* Names of the columns of a CSV file, for the schema and for people. Thread: any. */
#include "worker/data/csv/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/data/csv/field.h"

enum { LONG_NAME_BYTES = 200 };

/* Length of the character at `at` that can be shown; 0 if it is none. */
static size_t char_length(const char *at, const char *end)
{
    for (size_t n = 1; n <= 4 && (size_t)(end - at) >= n; n++)
        if (text_printable(at, n))
            return n;
    return 0;
}

/* The name that a field is: "" inside quotes is one quote, a byte that cannot be shown is \xNN, and a long name ends
 * with its hash. Returns the length. */
static size_t name_read(const struct field *field, char name[CSV_NAME_BUF])
{
    size_t used = 0;
    const char *end = field->at + field->n;
    for (const char *p = field->at; p < end;) {
        size_t n = char_length(p, end);
        bool whole = n ? used + n < CSV_NAME_BUF && str_append(name, CSV_NAME_BUF, &used, "%.*s", (int)n, p)
                       : str_append(name, CSV_NAME_BUF, &used, "\\x%02x", (unsigned)(unsigned char)*p);
        if (!whole || used > SCHEMA_NAME_BYTES_MAX) {
            used = MIN(used, (size_t)LONG_NAME_BYTES);
            while (used > 0 && !text_printable(name, used))
                used--;
            (void)str_append(name, CSV_NAME_BUF, &used, "...#%016llx",
                             (unsigned long long)XXH64(field->at, field->n, 0));
            return used;
        }
        p += (field->quoted && *p == '"') + MAX(n, 1);
    }
    name[used] = '\0';
    return used;
}

void csv_name_of_text(const char *text, char name[CSV_NAME_BUF])
{
    const struct field field = {.at = text, .n = strlen(text)};
    (void)name_read(&field, name);
}

dp_err csv_names_read(struct csv *csv)
{
    struct csv row = *csv;
    struct field field = {0};
    char name[CSV_NAME_BUF];
    size_t bytes = 0;
    row.text = csv->header;
    for (uint64_t i = 0; i < csv->fields; i++) {
        dp_err e = csv_field_read(&row, &field);
        if (e)
            return e;
        bytes += name_read(&field, name) + 1;
    }
    if (csv->fields > SCHEMA_NAMES_MAX || bytes > SCHEMA_TEXT_BYTES_MAX)
        return text_fail(&csv->header, csv->err,
                         "the header has %" PRIu64 " names of %zu bytes in all, and %d of %d bytes can be kept; write "
                         "the file without it and give --label-column N",
                         csv->fields, bytes, SCHEMA_NAMES_MAX, SCHEMA_TEXT_BYTES_MAX);
    csv->names = mem_array(csv->fields * sizeof *csv->names + bytes, 1);
    if (!csv->names)
        return dp_fail(csv->err, DP_NOMEM, "%s: out of memory for its header", csv->text.name);
    char *at = (char *)(csv->names + csv->fields);
    row = *csv;
    row.text = csv->header;
    for (uint64_t i = 0; i < csv->fields; i++) {
        dp_err e = csv_field_read(&row, &field);
        if (e)
            return e;
        size_t n = name_read(&field, name);
        csv->names[i] = memcpy(at, name, n + 1);
        at += n + 1;
    }
    return DP_OK;
}

bool csv_names_have(struct csv *row, const struct schema *want)
{
    struct field field = {0};
    uint64_t found = 0, at = 0;
    char name[CSV_NAME_BUF];
    AUTOFREE uint64_t *sorted = schema_sort(want->names, want->count);
    for (uint64_t i = 0; sorted && i < row->fields && !csv_field_read(row, &field); i++) {
        (void)name_read(&field, name);
        found += schema_find(want->names, sorted, want->count, name, &at);
    }
    return found >= want->count;
}

const char *csv_column_text(const struct csv *csv, uint64_t column, char buf[COLUMN_TEXT_MAX])
{
    size_t used = 0;
    char quote[QUOTE_MAX];
    (void)str_append(buf, COLUMN_TEXT_MAX, &used, "column %" PRIu64, column);
    if (csv->names)
        (void)str_append(buf, COLUMN_TEXT_MAX, &used, " (%s)",
                         token_quote(quote, csv->names[column], strlen(csv->names[column])));
    return buf;
}

const char *csv_list_text(char *const *list, uint64_t count, char buf[COLUMN_LIST_MAX])
{
    size_t used = 0;
    buf[0] = '\0';
    for (uint64_t i = 0; i < count; i++) {
        char quote[QUOTE_MAX];
        if (used > COLUMN_LIST_MAX - QUOTE_MAX - 6) {
            (void)str_append(buf, COLUMN_LIST_MAX, &used, ", ...");
            break;
        }
        (void)str_append(buf, COLUMN_LIST_MAX, &used, "%s%s", i ? ", " : "",
                         token_quote(quote, list[i], strlen(list[i])));
    }
    return buf;
}

const char *csv_columns_text(const struct csv *csv, char buf[COLUMN_LIST_MAX])
{
    if (csv->names)
        return csv_list_text(csv->names, csv->fields, buf);
    (void)str_copy(buf, COLUMN_LIST_MAX, "it has no header");
    return buf;
}

bool csv_name_find(const struct csv *csv, const char *name, uint64_t *ret_column)
{
    for (uint64_t i = 0; csv->names && i < csv->fields; i++)
        if (strcmp(csv->names[i], name) == 0) {
            *ret_column = i;
            return true;
        }
    return false;
}

dp_err csv_note(struct csv *csv, const char *fmt, ...)
{
    char *said = NULL, *all = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&said, fmt, args);
    va_end(args);
    if (n < 0 ||
        asprintf(&all, "%s%s%s", csv->data->note ? csv->data->note : "", csv->data->note ? "; " : "", said) < 0) {
        if (n >= 0)
            free(said);
        return dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
    }
    free(said);
    free(csv->data->note);
    csv->data->note = all;
    return DP_OK;
}

bool csv_column_number(const struct csv *csv, const char *text, uint64_t *ret_column)
{
    char *after;
    errno = 0;
    long long n = strtoll(text, &after, 10), fields = (long long)csv->fields;
    if (errno || after == text || *after || n < -fields || n >= fields)
        return false;
    *ret_column = (uint64_t)(n < 0 ? n + fields : n);
    return true;
}
