/* A label: what a row of data is said to be. It is a number (a finite double) or a word (any other token). Two
 * spellings of one number (1, 1.0, +1) are one label; words are equal if their bytes are. Order: numbers ascending,
 * then words by their bytes. Thread: any. */
#ifndef DP_COMMON_TENSOR_LABEL_H
#define DP_COMMON_TENSOR_LABEL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/dp_err.h"

enum {
    LABEL_TEXT_MAX = 128,       /* bytes of a label's text */
    LABELS_MAX = 1 << 16,       /* distinct labels of a data set or a job */
    LABELS_BYTES_MAX = 1 << 20, /* of all their texts */
    LABEL_NUMBER_CHARS = 32,    /* room for a number's text */
};

struct label {
    char *text;   /* as first written; printable UTF-8, heap */
    double value; /* of a number, never -0; 0 for a word */
    bool word;
};

/* The same while it is a part of a larger text: not terminated. */
struct label_token {
    const char *at;
    size_t n;
    double value;
    bool word;
};

/* Reads the token [at, at + n), which has no blanks around it. NULL, or why it is no label, as the second half of a
 * sentence. A whole number that no double holds exactly becomes a word, so that no two of them are taken for one; any
 * other number that would have to be rounded is refused. */
const char *label_read(const char *at, size_t n, struct label_token *ret_token);
/* Whether it stands for a label that is not there, or not finite: empty, "nan", "NA", "-inf". */
bool label_is_hole(const char *at, size_t n);
/* The number in as few digits as give it back. Returns buf. */
const char *label_number_text(double value, char buf[LABEL_NUMBER_CHARS]);

/* < 0, 0, > 0 as a is before b, the same, or behind. */
int label_compare(const struct label *a, const struct label *b);
/* Whether the text is a number as JSON writes them. */
bool label_json_number(const char *text);

#endif
