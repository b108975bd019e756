/* Numbers that are to become floats. Thread: any. */
#ifndef DP_COMMON_BASE_NUMBER_H
#define DP_COMMON_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/* strtod for a number that is to become a float. Hexadecimal, "nan", "inf" and leading spaces, which no user means, are
 * no numbers. *ret_vanishes: it is not 0, but would be as a float. */
double float_parse(const char *text, char **ret_end, bool *ret_vanishes);
/* Whether a number that is not 0 becomes 0 as a float. */
bool float_vanishes(double x);
/* Whether none of x[n] is infinite or NaN. */
bool floats_finite(size_t n, const float *x);

#endif
