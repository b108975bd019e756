/* Tables and lines that fit a terminal; see ctl_table.h. A table is printed in two passes, the first of which finds the
 * widths. Thread: any. */
#include "ctl_table.h"

#include <string.h>

#include "util.h"

enum { COLUMNS_MAX = 12, LINE_COLUMNS = 80, INDENT = 11, TEXT_LEAST = 8 };

static const char *cell(const struct ctl_column *column, const json_t *row, char buf[CTL_TEXT_BYTES])
{
    return column->text(column->field ? json_object_get(row, column->field) : row, buf);
}

/* Columns on a terminal that the text takes: characters, not bytes. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* Takes characters out of the middle, since names of hosts differ at both ends: "a-long-na..4711". */
static void shorten(char *text, int width)
{
    int have = width_of(text), head = (width - 2 + 1) / 2, column = 0;
    char *from = text;
    if (have <= width)
        return;
    for (; column < head; column += (*++from & 0xc0) != 0x80)
        ;
    char *to = from;
    for (; column < have - (width - 2 - head); column += (*++to & 0xc0) != 0x80)
        ;
    *from++ = '.';
    *from++ = '.';
    memmove(from, to, strlen(to) + 1);
}

static void print_cell(FILE *out, const char *text, int width, bool left, bool last)
{
    int pad = MAX(width - width_of(text), 0);
    if (left)
        fprintf(out, "%s%*s", text, last ? 0 : pad, "");
    else
        fprintf(out, "%*s%s", pad, "", text);
}

/* Columns of a table as it is printed. */
struct layout {
    int widths[COLUMNS_MAX]; /* 0: left out */
    int gap;                 /* before each but the first, before which there are two */
    bool brief;              /* headings are the short ones */
};

static const char *heading(const struct ctl_column *column, const struct layout *layout)
{
    return layout->brief && column->brief ? column->brief : column->head;
}

static void layout_measure(struct layout *layout, const json_t *rows, const struct ctl_column *columns, size_t count)
{
    char buf[CTL_TEXT_BYTES];
    for (size_t c = 0; c < count; c++) {
        layout->widths[c] = width_of(heading(&columns[c], layout));
        for (size_t r = 0; r < json_array_size(rows); r++)
            layout->widths[c] = MAX(layout->widths[c], width_of(cell(&columns[c], json_array_get(rows, r), buf)));
    }
}

static int layout_excess(const struct layout *layout, size_t count)
{
    int total = 2 - layout->gap;
    for (size_t c = 0; c < count; c++)
        total += layout->widths[c] ? layout->widths[c] + layout->gap : 0;
    return total - LINE_COLUMNS;
}

/* One off the widest text that can be shortened; false where there is none. */
static bool layout_shorten(struct layout *layout, const struct ctl_column *columns, size_t count)
{
    size_t widest = count;
    for (size_t c = 0; c < count; c++)
        if (columns[c].left && layout->widths[c] > TEXT_LEAST &&
            (widest == count || layout->widths[c] > layout->widths[widest]))
            widest = c;
    if (widest < count)
        layout->widths[widest]--;
    return widest < count;
}

/* Makes it fit: by shorter headings, closer together, without what can be spared, then with the widest texts shortened.
 */
static void layout_fit(struct layout *layout, const json_t *rows, const struct ctl_column *columns, size_t count)
{
    *layout = (struct layout){.gap = 2};
    layout_measure(layout, rows, columns, count);
    if (layout_excess(layout, count) > 0) {
        layout->brief = true;
        layout_measure(layout, rows, columns, count);
    }
    if (layout_excess(layout, count) > 0)
        layout->gap = 1;
    for (size_t c = count; c-- > 0 && layout_excess(layout, count) > 0;)
        layout->widths[c] = columns[c].spare ? 0 : layout->widths[c];
    while (layout_excess(layout, count) > 0 && layout_shorten(layout, columns, count))
        ;
}

static void print_row(const struct layout *layout, const struct ctl_column *columns, size_t count, const json_t *row,
                      FILE *out)
{
    char buf[CTL_TEXT_BYTES];
    for (size_t c = 0; c < count; c++) {
        if (layout->widths[c] == 0)
            continue;
        (void)str_copy(buf, sizeof buf, heading(&columns[c], layout));
        if (row)
            cell(&columns[c], row, buf);
        shorten(buf, layout->widths[c]);
        fprintf(out, "%*s", c ? layout->gap : 2, "");
        print_cell(out, buf, layout->widths[c], columns[c].left, c + 1 == count);
    }
    fputc('\n', out);
}

void ctl_table_print(const char *title, const json_t *rows, const struct ctl_column *columns, size_t count, FILE *out)
{
    struct layout layout;
    size_t n = json_array_size(rows);
    fprintf(out, "\n%s: %zu\n", title, n);
    if (n == 0)
        return;
    layout_fit(&layout, rows, columns, count);
    print_row(&layout, columns, count, NULL, out);
    for (size_t r = 0; r < n; r++)
        print_row(&layout, columns, count, json_array_get(rows, r), out);
}

/* Where a line is to be broken: behind a comma or semicolon in the right half of what fits, the first one that leaves a
 * line which fits, else the last one; without any, at the last blank that fits, or the first one; NULL: not at all. */
static const char *line_break(const char *line, const char *end)
{
    const char *blank = NULL, *comma = NULL;
    int column = 0, total = 0;
    bool enough = false;
    for (const char *at = line; at < end; at++)
        total += ((unsigned char)*at & 0xc0) != 0x80;
    for (const char *at = line; at < end && total > LINE_COLUMNS; column += (*++at & 0xc0) != 0x80) {
        if (*at != ' ' || at < line + INDENT) /* the line's name is before that */
            continue;
        if (column <= LINE_COLUMNS || !blank)
            blank = at;
        if (!enough && column <= LINE_COLUMNS && column >= LINE_COLUMNS / 2 && strchr(",;", at[-1])) {
            comma = at;
            enough = total - column - 1 + INDENT <= LINE_COLUMNS;
        }
    }
    return comma ? comma : blank;
}

/* Prints lines, of which those that are too long go on under their beginning. */
void ctl_table_wrap(char *text, FILE *out)
{
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        for (const char *at; (at = line_break(line, end));) {
            fprintf(out, "%.*s\n", (int)(at - line), line);
            line += at - line + 1 - INDENT;
            memset(line, ' ', INDENT);
        }
        fprintf(out, "%.*s\n", (int)(end - line), line);
    }
}
