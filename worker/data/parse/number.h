/* Decimal text to float, correctly rounded and free of the locale. Thread: any. */
#ifndef DP_WORKER_DATA_PARSE_NUMBER_H
#define DP_WORKER_DATA_PARSE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

enum { NUMBER_CHARS_MAX = 400 };

/* Reads the decimal number that begins at `at` and returns where it ends, or NULL if there is none, or none that is a
 * finite float. The value is the float nearest to the decimal, ties to even, whatever the locale. Form: [+-] digits
 * [. digits] [e [+-] digits] with a digit before or after the point. */
const char *number_scan(const char *at, const char *end, float *ret_value);
/* Why the token [at, at + n) is no value, as the second half of a sentence: "is not a number". */
const char *number_fault(const char *at, size_t n);
/* Whether the token is meant as a number, though perhaps not a finite one: "12", "nan", "1e99". */
bool number_like(const char *at, size_t n);

#endif
