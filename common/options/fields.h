/* The JSON that a program prints, as a table of its members. The table makes a page of --help and a part of a README,
 * and tests hold what is printed against it (tests/integration/support/fields.h).
 *
 * Invariants: a member is in each place once; `places` of a member have descriptions or are members of other places.
 * Thread: any. */
#ifndef DP_COMMON_OPTIONS_FIELDS_H
#define DP_COMMON_OPTIONS_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/options/table.h"

enum field_type {
    FIELD_INTEGER = 1 << 0,
    FIELD_NUMBER = 1 << 1,
    FIELD_TEXT = 1 << 2,
    FIELD_BOOLEAN = 1 << 3,
    FIELD_OBJECT = 1 << 4, /* of members that the table has */
    FIELD_LIST = 1 << 5,   /* of elements of the types above */
    FIELD_MAP = 1 << 6,    /* an object whose members have names of their own, and values of the types above */
    FIELD_NULL = 1 << 7,   /* or null */
    FIELD_MAYBE = 1 << 8,  /* the member may be missing */
};

/* A member, or, if `name` is NULL, the description of its places. A place is the path of an object in a document, such
 * as "job", "shards[]" (an element of a list), "a.b", or the topic for the document itself; in a table of events it is
 * an event. */
struct field {
    const char *places; /* separated by spaces: the member is in each of them */
    const char *name;
    unsigned type; /* enum field_type */
    const char *unit;
    const char *meaning;
};

struct field_table {
    const char *topic;   /* of --help */
    const char *summary; /* one line */
    const struct field *list;
    size_t count;
};

/* "list of integers or null", in buf. */
const char *field_type_text(unsigned type, char *buf, size_t size);

/* Prints the page `topic` of a program, or as Markdown if it is "reference PAGE"; false if there is none. */
bool fields_help(const struct option_table *table, const char *topic, FILE *out);

#endif
