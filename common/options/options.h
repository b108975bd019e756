/* Options: one table per program drives the command line, DP_* environment, the flat YAML file (--config), --help and
 * the generated reference in the folder's README. Precedence: command line, environment, file, default. Thread: any. */
#ifndef DP_COMMON_OPTIONS_OPTIONS_H
#define DP_COMMON_OPTIONS_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "common/base/dp_err.h"
#include "common/options/table.h"

/* The outcome of a parse, besides values. */
enum option_outcome { OPT_RUN, OPT_HELP, OPT_VERSION };

/* Fills `fields`. argv[0] is skipped. `--config FILE` is known if the table has a "config" string option. Every program
 * understands --help [TOPIC] and --version. Errors are DP_USAGE and name the option, the variable, or file and line,
 * the value, what is allowed, and for a misspelt name the nearest one. An option given twice by a source is an error,
 * unless it is a list, which replaces that of a lower source; so is an empty text. An environment variable DP_* that
 * the table does not know (see options_env_check), or that is empty, is ignored; an unknown YAML key is an error. On
 * OPT_HELP the help text has been printed to stdout (else DP_IO); on OPT_VERSION the version. On failure nothing is
 * left to free, else options_fini frees. */
DP_MUST_CHECK dp_err options_parse(struct options *opts, const struct option_table *table, void *fields, int argc,
                                   char **argv, enum option_outcome *ret_outcome, dp_error *err);
/* The same from defaults and the YAML text of a file called `name` alone. The fuzz target calls it. */
DP_MUST_CHECK dp_err options_parse_text(struct options *opts, const struct option_table *table, void *fields,
                                        const char *name, const void *text, size_t bytes, dp_error *err);
/* A line to `out` for each variable DP_* of the environment that is no option of any program: a misspelt one would do
 * nothing in silence. */
void options_env_check(const struct option_table *table, FILE *out);

#endif
