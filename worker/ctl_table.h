/* Tables of JSON objects, and lines of text, in at most 80 columns. Thread: any. */
#ifndef DP_CTL_TABLE_H
#define DP_CTL_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { CTL_TEXT_BYTES = 96 }; /* of a cell */

struct ctl_column {
    const char *head;
    const char *brief; /* heading where there is little room; NULL: the same */
    const char *field; /* NULL: the row's object itself is given to `text` */
    const char *(*text)(const json_t *value, char buf[CTL_TEXT_BYTES]);
    bool left;  /* a text, which may be shortened */
    bool spare; /* left out where the others need its room */
};

/* Prints "TITLE: how many", and a row for each object of an array; at most 12 columns. What does not fit has
 * shorter headings, is brought closer together, does without what can be spared, and has its texts shortened, in this
 * order; it is wider all the same where nothing of that is enough. */
void ctl_table_print(const char *title, const json_t *rows, const struct ctl_column *columns, size_t count, FILE *out);
/* Prints whole lines; those that are too long go on, where a word ends, under their beginning. Changes the text. */
void ctl_table_wrap(char *text, FILE *out);

#endif
