/* The command line: which options were given with which texts, and the operands. Thread: any. */
#ifndef DP_COMMON_OPTIONS_ARGS_H
#define DP_COMMON_OPTIONS_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/options/table.h"

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

#endif
