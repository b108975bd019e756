/* Schema of a data set: its format, the names of its features in their order, and which column is the label. A training
 * job keeps that of its data, the model file stores it, and data that come later are matched with it. Thread: any. */
#ifndef DP_COMMON_TENSOR_SCHEMA_H
#define DP_COMMON_TENSOR_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum schema_format { SCHEMA_UNKNOWN, SCHEMA_LIBSVM, SCHEMA_CSV, SCHEMA_IDX }; /* as the choices of --format */
enum {
    SCHEMA_NAMES_MAX = 1 << 16,      /* of features, and of ignored columns */
    SCHEMA_NAME_BYTES_MAX = 255,     /* of one name */
    SCHEMA_TEXT_BYTES_MAX = 3 << 19, /* of all names together */
    SCHEMA_NOTE_BYTES_MAX = 500,     /* of a note */
    SCHEMA_LABEL_TEXT_BYTES = 96,    /* of schema_label_text */
};
#define SCHEMA_NO_LABEL UINT64_MAX

struct schema {
    enum schema_format format;
    uint64_t count;    /* of features */
    char **names;      /* [count], distinct, none empty; NULL: features have numbers only */
    char *label;       /* name of the label's column; NULL: it has a number only */
    uint64_t fields;   /* CSV: columns of a row, label and ignored ones included; 0: not known */
    uint64_t label_at; /* CSV: the label's number among them, from 0; SCHEMA_NO_LABEL: there is none */
    char **ignored;    /* [ignored_count] names of columns that are not read, numbers where there are no names */
    size_t ignored_count;
};

void schema_fini(struct schema *schema);
/* A deep copy. DP_NOMEM; *ret_schema is untouched then. */
DP_MUST_CHECK dp_err schema_copy(const struct schema *from, struct schema *ret_schema);

/* A list of texts on the heap, in one piece with them: freed with free(). NULL when out of memory. */
char **schema_list_copy(char *const *list, size_t count);
/* The list as a JSON array (heap) and back. The text is untrusted: at most `max` texts that are printable and no longer
 * than SCHEMA_NAME_BYTES_MAX. NULL when out of memory or where the text is none such. */
char *schema_list_text(char *const *list, size_t count);
char **schema_list_parse(const char *text, size_t max, size_t *ret_count);

/* The order of a list's texts by strcmp: heap, NULL when out of memory. */
uint64_t *schema_sort(char *const *list, size_t count);
/* Place of `name` in the list, found by its order; false where it is not there. */
bool schema_find(char *const *list, const uint64_t *sorted, size_t count, const char *name, uint64_t *ret_at);

/* Whether a column of this name is taken for the label: label, target, class, y, in small or capital letters. */
bool schema_names_label(const char *name);
/* "column 'target'", or "column 3" where it has no name; returns buf. */
char *schema_label_text(const char *name, uint64_t at, char buf[SCHEMA_LABEL_TEXT_BYTES]);
/* "libsvm"; NULL for one that is not known. */
const char *schema_format_name(enum schema_format format);

#endif
