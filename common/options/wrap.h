/* Text for people in lines of at most 80 columns, where words allow. Thread: any. */
#ifndef DP_COMMON_OPTIONS_WRAP_H
#define DP_COMMON_OPTIONS_WRAP_H

#include <stddef.h>
#include <stdio.h>

/* A space at which a line is not broken, until it is printed. */
#define HARD_SPACE '\x1f'

/* Prints text from column `left` on, in lines of whole words; the cursor is at `column`. */
void print_wrapped(FILE *out, size_t column, size_t left, const char *text);

#endif
