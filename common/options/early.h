/* Flags that must be known before the options are read, or where they cannot be. Thread: any. */
#ifndef DP_COMMON_OPTIONS_EARLY_H
#define DP_COMMON_OPTIONS_EARLY_H

#include <stdbool.h>

/* Whether command line or environment ask for flag `name`, though the options as a whole may be wrong: an error is to
 * be told in the form that was asked for. */
bool options_flag_early(const char *name, int argc, char **argv);

#endif
