/* Numbers and bytes as text of JSON: hexadecimal, since JSON's integers end at 2^63 and its reals know no NaN.
 * Thread: any. */
#ifndef DP_COMMON_CHECKPOINT_HEX_H
#define DP_COMMON_CHECKPOINT_HEX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 16 digits. NULL when out of memory. */
json_t *hex_number(uint64_t number);
/* The bits of a double: every value comes back as it was. */
json_t *hex_double(double number);
json_t *hex_bytes(const void *data, size_t bytes);

/* False where it is not what was written above, or out of memory. */
bool hex_read_number(const json_t *json, uint64_t *ret_number);
bool hex_read_double(const json_t *json, double *ret_number);
/* Heap. */
bool hex_read_bytes(const json_t *json, void **ret_data, size_t *ret_bytes);

/* A JSON integer in 0..most. */
bool json_read_count(const json_t *json, uint64_t most, uint64_t *ret_number);
/* A list of `count` values, each made by `value`. NULL when out of memory. */
json_t *json_list(size_t count, json_t *(*value)(const void *list, size_t i), const void *list);

#endif
