/* The table of options that a program has, and its options while they are read. Invariant: names in a table are
 * distinct, so an option has one place. Thread: any. */
#ifndef DP_COMMON_OPTIONS_TABLE_H
#define DP_COMMON_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum { OPTION_NAME_MAX = 64, OPTION_WHERE_MAX = 320 };

enum option_type {
    OPT_STRING, /* const char *; NULL when there is no default and none was given */
    OPT_U64,    /* uint64_t, min..max */
    OPT_F64,    /* double, min..max; decimal or scientific notation; NaN and infinity are refused */
    OPT_FLAG,   /* bool; --name alone means true; --name=on|off; true|false, yes|no and 1|0 are understood as well */
    OPT_SWITCH, /* bool; --name on|off */
    OPT_CHOICE, /* int, index into the `choices` list "a|b|c"; -1 when there is no default and none was given */
    OPT_LIST,   /* struct option_list; repeatable; a sequence in YAML; in the environment one value */
};

struct option_list {
    size_t count;
    const char **values;
};

struct option {
    const char *topic; /* --help TOPIC prints the options of one topic */
    const char *name;  /* without dashes; env is DP_ + upper case with _; the YAML key is the name */
    enum option_type type;
    size_t field;        /* offsetof in the program's options struct */
    const char *arg;     /* placeholder in --help: "FILE", "N", NULL for flags */
    double min, max;     /* numbers; both inclusive; min = max = 0: all that the type allows; DBL_MIN: more than 0 */
    const char *dflt;    /* as a user would write it; NULL: none */
    const char *unit;    /* "ms", "rows", "steps" or NULL */
    const char *choices; /* "a|b|c" for OPT_CHOICE */
    const char *help;    /* one line, lower case, no full stop */
};

struct field_table;

struct option_table {
    const char *program; /* "dp-server" */
    const char *summary; /* one line */
    const char *usage;   /* lines of "  dp-server [options]" */
    const char *topics;  /* "topic: what it holds\n..." in order of printing */
    const char *footer;  /* examples at the end of --help; may be NULL */
    const struct option *list;
    size_t count;
    size_t operands_max;             /* arguments that are not options; more of them are an error */
    const struct field_table *pages; /* JSON that the program prints: further topics of --help; see fields.h */
    size_t page_count;
};

/* Sources of an option's value. */
enum option_source { OPT_FROM_DEFAULT, OPT_FROM_FILE, OPT_FROM_ENV, OPT_FROM_ARGS };

struct options {
    const struct option_table *table;
    void *fields;                /* the program's struct, filled */
    enum option_source *sources; /* per option */
    char **operands;             /* arguments that are not options, NULL-terminated; the texts are argv's */
    size_t operand_count;
    void *arena; /* strings and lists of the fields */
};

/* Index of the option called name[bytes], or -1. */
int option_find(const struct option_table *table, const char *name, size_t bytes);
/* The source of the value of option `name`, which must be in the table. */
enum option_source options_source(const struct options *opts, const char *name);

/* A line "name: text" of a table's topics. */
struct topic_line {
    const char *name;
    int name_bytes;
    const char *text;
    int text_bytes;
};
/* Takes the topic at *at, which begins as table->topics, and moves on; false at the end. */
bool topic_next(const char **at, struct topic_line *ret_line);
bool topic_is(const struct topic_line *line, const char *topic);

/* A copy of text[bytes], NUL-terminated, and memory; both live until options_fini. NULL when out of memory. */
char *options_copy(struct options *opts, const char *text, size_t bytes);
void *options_memory(struct options *opts, size_t bytes);
/* Frees them. */
void options_fini(struct options *opts);

#endif
