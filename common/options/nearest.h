/* Words as errors show them: a user's text, and the nearest word to a misspelt one. Thread: any. */
#ifndef DP_COMMON_OPTIONS_NEAREST_H
#define DP_COMMON_OPTIONS_NEAREST_H

#include <stddef.h>

#include "common/options/table.h"

enum { OPTION_SHOWN_MAX = 80 };

/* A user's text as an error shows it, in buf: on one line and not too long. */
const char *option_shown(const char *text, char buf[OPTION_SHOWN_MAX]);

/* The nearest of several words to a misspelt one. Zero-initialize but for `want`. */
struct nearest {
    const char *want;
    char word[OPTION_NAME_MAX];
    size_t distance; /* 1 + edit distance, 0 while there is none */
};
void nearest_offer(struct nearest *nearest, const char *word, size_t bytes);
/* "; did you mean '--lr'?", or nothing when no word is near. `dashes` goes before the word. */
void nearest_hint(const struct nearest *nearest, const char *dashes, char *buf, size_t size);
/* Offers every word of "a|b|c". */
void nearest_offer_choices(struct nearest *nearest, const char *choices);

/* DP_USAGE "<where>unknown option '<dashes><name>'" with the nearest name. */
DP_MUST_CHECK dp_err option_fail_unknown(const struct option_table *table, const char *where, const char *name,
                                         const char *dashes, dp_error *err);

#endif
