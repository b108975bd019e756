/* Options: one table per program drives the command line, DP_* environment, the flat YAML file (--config), --help and
 * the generated reference in the folder's README. Precedence: command line, environment, file, default. Thread: any. */
#ifndef DP_COMMON_OPTIONS_OPTIONS_H
#define DP_COMMON_OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/dp_err.h"

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

/* Where an option's value came from. */
enum option_source { OPT_FROM_DEFAULT, OPT_FROM_FILE, OPT_FROM_ENV, OPT_FROM_ARGS };

struct options {
    const struct option_table *table;
    void *fields;                /* the program's struct, filled */
    enum option_source *sources; /* per option */
    char **operands;             /* arguments that are not options, NULL-terminated; the texts are argv's */
    size_t operand_count;
    void *arena; /* strings and lists of the fields */
};

/* What parse found besides values. */
enum option_outcome { OPT_RUN, OPT_HELP, OPT_VERSION };

/* Fills `fields`. argv[0] is skipped. `--config FILE` is known if the table has a "config" string option. Every program
 * understands --help [TOPIC] and --version. Errors are DP_USAGE and name the option, the variable, or file and line,
 * the value, what is allowed, and for a misspelt name the nearest one. What is given twice
 * by a source is an error, unless it is a list, which replaces that of a lower source; so is an empty text. An
 * environment variable DP_* that the table does not know (see options_env_check), or that is empty, is ignored; an
 * unknown YAML key is an error. On OPT_HELP the help text has been printed to stdout (else DP_IO); on OPT_VERSION the
 * version. On failure nothing is left to free. */
DP_MUST_CHECK dp_err options_parse(struct options *opts, const struct option_table *table, void *fields, int argc,
                                   char **argv, enum option_outcome *ret_outcome, dp_error *err);
/* The same from defaults and the YAML text of a file called `name` alone. What the fuzz target calls. */
DP_MUST_CHECK dp_err options_parse_text(struct options *opts, const struct option_table *table, void *fields,
                                        const char *name, const void *text, size_t bytes, dp_error *err);
void options_fini(struct options *opts);
/* Where the value of option `name` came from; the name must be in the table. */
enum option_source options_source(const struct options *opts, const char *name);

/* Whether command line or environment ask for flag `name`, though the options as a whole may be wrong: an error is to
 * be told in the form that was asked for. */
bool options_flag_early(const char *name, int argc, char **argv);

/* A line to `out` for each variable DP_* of the environment that is no option of any program: a misspelt one would do
 * nothing in silence. */
void options_env_check(const struct option_table *table, FILE *out);
/* Whether `value` may be given as option `name`, which must be a number of the table: what is set while a program runs
 * has the bounds of what it is started with. DP_USAGE "<where>: 1e+50 is out of range: ...". */
DP_MUST_CHECK dp_err options_check_number(const struct option_table *table, const char *name, double value,
                                          const char *where, dp_error *err);

/* Overview (topic NULL), one topic, one page, one option by its name, the "reference", or "reference PAGE"; false if
 * there is no such topic. */
bool options_help(const struct option_table *table, const char *topic, FILE *out);
/* The reference as Markdown tables, for the folder's README between markers. */
void options_reference(const struct option_table *table, FILE *out);

#endif
