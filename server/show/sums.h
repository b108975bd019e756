/* Numbers of the display as JSON, for a run that goes on. A number that is none is null. Thread: head. */
#ifndef DP_SERVER_SHOW_SUMS_H
#define DP_SERVER_SHOW_SUMS_H

#include <jansson.h>
#include <stdint.h>

/* A new reference. */
json_t *sums_real(double number);
/* The member with the name, if it is such a number; else *ret_number stays. */
void sums_read_real(const json_t *sums, const char *name, double *ret_number);
void sums_read_count(const json_t *sums, const char *name, uint64_t *ret_number);

#endif
