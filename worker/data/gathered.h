/* Rows that were picked from a set, in an order of their own. Thread: one. */
#ifndef DP_WORKER_DATA_GATHERED_H
#define DP_WORKER_DATA_GATHERED_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/data/parse/set.h"

/* A zeroed one is empty; it grows. Classes are numbers in the set's labels, which it does not have itself. */
struct gathered {
    struct data data;
    uint64_t rows_room, values_room;
};

/* Room for this many rows, and for their values in all. False when out of memory. */
bool gathered_reserve(struct gathered *gathered, uint64_t rows, uint64_t values, bool classes, bool sparse);
/* Values that a row of the set has: its entries, or all features. */
uint64_t gathered_row_values(const struct data *data, uint64_t row);
/* Copies the row as row i, its values from `at` on: the values of all rows before it. There is room. */
void gathered_put(struct gathered *gathered, uint64_t i, uint64_t at, const struct data *from, uint64_t row);
void gathered_fini(struct gathered *gathered);

#endif
