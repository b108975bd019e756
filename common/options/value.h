/* Texts into values of options, and the range of a number. Thread: any. */
#ifndef DP_COMMON_OPTIONS_VALUE_H
#define DP_COMMON_OPTIONS_VALUE_H

#include "common/options/table.h"

/* Gives option i the value that `text` says. `where` ("option --lr") begins the error's text. A list grows by one value
 * if it came from the same source, else it begins anew. DP_USAGE. */
DP_MUST_CHECK dp_err option_set(struct options *opts, size_t i, const char *text, enum option_source source,
                                const char *where, dp_error *err);
/* The value of an option that nobody gave and that has no default. */
void option_clear(struct options *opts, size_t i);
/* The range of a number as text: "1 to 64", "at least 0", "more than 0"; empty if the type alone decides. A maximum of
 * `max_told` or more goes without saying. */
void option_range_text(const struct option *option, double max_told, char *buf, size_t size);
/* Whether `value` may be given as option `name`, which must be a number of the table: what is set while a program runs
 * has the bounds of what it is started with. DP_USAGE "<where>: 1e+50 is out of range: ...". */
DP_MUST_CHECK dp_err options_check_number(const struct option_table *table, const char *name, double value,
                                          const char *where, dp_error *err);

#endif
