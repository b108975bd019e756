/* Fitting a text to a terminal; see fit.h. Widths are of characters, not of bytes. A table is printed in two
 * passes, the first of which finds the widths. Thread: any. */
#include "worker/ctl/fit.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/util.h"

enum { COLUMNS_MAX = 12, GAP = 2, CELL_MIN = 8, INDENT = 11 };

struct table {
    const struct column *list;
    size_t count;
    int widths[COLUMNS_MAX]; /* 0: left out */
};

int fit_columns(FILE *out)
{
    struct winsize size;
    bool known = isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? MAX((int)size.ws_col, (int)FIT_COLUMNS_MIN) : FIT_COLUMNS;
}

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += begins_character(*text);
    return width;
}

/* ---- tables ---- */

static const char *cell(const struct column *column, const json_t *row, char buf[TEXT_BYTES])
{
    return column->text(column->field ? json_object_get(row, column->field) : row, buf);
}

static void find_widths(struct table *table, const json_t *rows)
{
    char buf[TEXT_BYTES];
    for (size_t c = 0; c < table->count; c++) {
        table->widths[c] = width_of(table->list[c].head);
        for (size_t r = 0; r < json_array_size(rows); r++)
            table->widths[c] = MAX(table->widths[c], width_of(cell(&table->list[c], json_array_get(rows, r), buf)));
    }
}

static int table_width(const struct table *table)
{
    int width = 0;
    for (size_t c = 0; c < table->count; c++)
        width += table->widths[c] ? GAP + table->widths[c] : 0;
    return width;
}

/* The column that goes next, or `count` when all that are left stay. */
static size_t column_to_leave_out(const struct table *table)
{
    size_t found = table->count;
    for (size_t c = 0; c < table->count; c++)
        if (table->widths[c] && table->list[c].rank > (found < table->count ? table->list[found].rank : 0))
            found = c;
    return found;
}

/* The widest cell that may be cut, or `count`. */
static size_t column_to_cut(const struct table *table)
{
    size_t found = table->count;
    for (size_t c = 0; c < table->count; c++)
        if (table->list[c].left && table->widths[c] > (found < table->count ? table->widths[found] : CELL_MIN))
            found = c;
    return found;
}

static void fit(struct table *table, int columns)
{
    size_t c;
    while (table_width(table) > columns && (c = column_to_leave_out(table)) < table->count)
        table->widths[c] = 0;
    while (table_width(table) > columns && (c = column_to_cut(table)) < table->count)
        table->widths[c]--;
}

/* Bytes of the first `width` characters. */
static int bytes_of(const char *text, int width)
{
    const char *at = text;
    for (; *at; at++)
        if (begins_character(*at) && width-- == 0)
            break;
    return (int)(at - text);
}

static void print_cell(FILE *out, const char *text, int width, bool left, bool last)
{
    int pad = MAX(width - width_of(text), 0);
    if (width_of(text) > width)
        fprintf(out, "  %.*s...", bytes_of(text, width - 3), text);
    else if (left)
        fprintf(out, "  %s%*s", text, last ? 0 : pad, "");
    else
        fprintf(out, "  %*s%s", pad, "", text);
}

/* A row, or the heads where it is NULL. */
static void print_row(const struct table *table, const json_t *row, FILE *out)
{
    char buf[TEXT_BYTES];
    size_t last = table->count;
    while (last > 0 && !table->widths[last - 1])
        last--;
    for (size_t c = 0; c < last; c++) {
        const struct column *column = &table->list[c];
        if (table->widths[c])
            print_cell(out, row ? cell(column, row, buf) : column->head, table->widths[c], column->left, c + 1 == last);
    }
    fputc('\n', out);
}

static void tell_left_out(const struct table *table, FILE *out)
{
    const char *before = "  not shown: ";
    for (size_t c = 0; c < table->count; c++) {
        if (table->widths[c])
            continue;
        fprintf(out, "%s%s", before, table->list[c].head);
        before = ", ";
    }
    if (*before == ',')
        fputs(" (a wider terminal or --json has them)\n", out);
}

void fit_table(const char *title, const json_t *rows, const struct column *list, size_t count, int columns, FILE *out)
{
    struct table table = {.list = list, .count = MIN(count, (size_t)COLUMNS_MAX)};
    size_t n = json_array_size(rows);
    fprintf(out, "\n%s: %zu\n", title, n);
    if (n == 0)
        return;
    find_widths(&table, rows);
    fit(&table, columns);
    print_row(&table, NULL, out);
    for (size_t r = 0; r < n; r++)
        print_row(&table, json_array_get(rows, r), out);
    tell_left_out(&table, out);
}

/* ---- lines ---- */

/* Bytes of `text`, which has `size`, that go on a line of `width` characters: up to the last blank behind a comma, else
 * to the last blank, where there is one. */
static size_t fold_at(const char *text, size_t size, int width)
{
    size_t comma = 0, blank = 0, at = 0;
    for (int used = 0; at < size; at++) {
        if (begins_character(text[at]) && used++ == width)
            break;
        if (text[at] != ' ')
            continue;
        blank = at;
        if (at > 0 && text[at - 1] == ',')
            comma = at;
    }
    if (at == size)
        return size;
    return comma ? comma : blank ? blank : at;
}

static void print_folded(const char *line, size_t size, int columns, FILE *out)
{
    int indent = 0;
    while (size > 0) {
        size_t n = fold_at(line, size, columns - indent);
        fprintf(out, "%*s%.*s\n", indent, "", (int)n, line);
        indent = INDENT;
        line += n;
        size -= n;
        for (; size > 0 && *line == ' '; size--)
            line++;
    }
}

void fit_lines(const char *text, int columns, FILE *out)
{
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        print_folded(line, n, columns, out);
        line += n + (line[n] == '\n');
    }
}
