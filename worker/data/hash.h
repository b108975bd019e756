/* Features hashed to a number of columns that is given (the hashing trick; Weinberger 2009, without its signs).
 * Thread: any. */
#ifndef DP_WORKER_DATA_HASH_H
#define DP_WORKER_DATA_HASH_H

#include "worker/data/data.h"

enum { DATA_HASH_BITS_MAX = 31 }; /* columns are 32-bit numbers */

/* The column of a feature: the low `bits` bits of XXH64, seeded, of the index as 8 little-endian bytes. */
uint32_t data_hash_column(uint64_t index, uint32_t bits, uint64_t seed);
/* Puts hashed entries in the order of their columns, row by row. Values of a row that fell to one column are added up
 * in the order of the file, so a row has a column once. DP_NOMEM. */
DP_MUST_CHECK dp_err data_hash_settle(struct data *data, dp_error *err);

#endif
