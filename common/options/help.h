/* Texts about options for people. Thread: any. */
#ifndef DP_COMMON_OPTIONS_HELP_H
#define DP_COMMON_OPTIONS_HELP_H

#include <stdbool.h>
#include <stdio.h>

#include "common/options/table.h"

/* Overview (topic NULL), one topic, one page, one option by its name, the "reference", or "reference PAGE"; false if
 * there is no such topic. */
bool options_help(const struct option_table *table, const char *topic, FILE *out);
/* The reference as Markdown tables, for the folder's README between markers. */
void options_reference(const struct option_table *table, FILE *out);

#endif
