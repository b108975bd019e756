/* Lines and tables that fit a number of columns. Thread: any. */
#ifndef DP_WORKER_CTL_FIT_H
#define DP_WORKER_CTL_FIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { TEXT_BYTES = 96, FIT_COLUMNS = 80, FIT_COLUMNS_MIN = 40 };

struct column {
    const char *head;
    const char *field; /* NULL: the row's object itself is given to `text` */
    const char *(*text)(const json_t *value, char buf[TEXT_BYTES]);
    bool left;
    int rank; /* 0: always shown; columns are left out for want of room, those of the highest rank first */
};

/* Columns of the terminal that `out` is, FIT_COLUMNS elsewhere. */
int fit_columns(FILE *out);
/* Prints "title: rows" and the table within `columns`: first columns are left out by their rank, which a line below the
 * table tells, then the widest left-aligned cells are cut to "...". */
void fit_table(const char *title, const json_t *rows, const struct column *list, size_t count, int columns, FILE *out);
/* Prints lines of the form "name       text", those longer than `columns` folded between words under their text. */
void fit_lines(const char *text, int columns, FILE *out);

#endif
