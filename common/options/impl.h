/* What the parts of the option table share: options.c (sources and precedence), args.c (the command line),
 * value.c (texts to values), yaml.c (the flat YAML file), help.c (texts for people). Thread:
 * any. */
#ifndef DP_COMMON_OPTIONS_IMPL_H
#define DP_COMMON_OPTIONS_IMPL_H

#include "common/options/options.h"

enum { OPTION_NAME_MAX = 64, OPTION_WHERE_MAX = 320, OPTION_SHOWN_MAX = 80 };

/* A copy of text[bytes], NUL-terminated, and memory for count pointers; both live until options_fini. NULL when out of
 * memory. */
char *options_copy(struct options *opts, const char *text, size_t bytes);
void *options_memory(struct options *opts, size_t bytes);

/* Gives option i the value that `text` says. `where` ("option --lr") begins the error's text. A list grows by one value
 * if it came from the same source, else it begins anew. DP_USAGE. */
DP_MUST_CHECK dp_err option_set(struct options *opts, size_t i, const char *text, enum option_source source,
                                const char *where, dp_error *err);
/* The value of an option that nobody gave and that has no default. */
void option_clear(struct options *opts, size_t i);
/* What a number may be, as text: "1 to 64", "at least 0", "more than 0"; empty if the type alone decides. A maximum of
 * `max_told` or more goes without saying. */
void option_range_text(const struct option *option, double max_told, char *buf, size_t size);

/* A user's text as an error shows it, in buf: on one line and not too long. */
const char *option_shown(const char *text, char buf[OPTION_SHOWN_MAX]);

/* Index of the option called name[bytes], or -1. */
int option_find(const struct option_table *table, const char *name, size_t bytes);
/* DP_USAGE "<where>unknown option '<dashes><name>'" with the nearest name. */
DP_MUST_CHECK dp_err option_fail_unknown(const struct option_table *table, const char *where, const char *name,
                                         const char *dashes, dp_error *err);

/* An option on the command line; `value` is argv's or a static text. */
struct arg_hit {
    size_t i;
    const char *value;
};

struct arg_scan {
    struct options *opts;
    int argc;
    char **argv;
    int at; /* the next argument */
    struct arg_hit *hits;
    size_t hit_count;
    bool help, version;
    const char *help_topic; /* may be NULL */
};

/* Reads all arguments from `at` on; the first error counts, unless --help or --version is among them. */
DP_MUST_CHECK dp_err options_scan(struct arg_scan *scan, dp_error *err);

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

/* Receives a flat YAML file in order: a key, then its value or the values of its sequence. Lines count from 1. */
struct yaml_sink {
    dp_err (*key)(void *arg, const char *key, bool sequence, size_t line, dp_error *err);
    dp_err (*value)(void *arg, const char *value, size_t line, dp_error *err);
    void *arg;
};
/* Reads one map of scalars and sequences of scalars; everything else is DP_USAGE with "name:line: ". */
DP_MUST_CHECK dp_err options_yaml_read(const char *name, const void *text, size_t bytes, const struct yaml_sink *sink,
                                       dp_error *err);

#endif
