/* What bench_exchange_rows and its worker agree on. */
#ifndef DP_BENCH_EXCHANGE_ROWS_H
#define DP_BENCH_EXCHANGE_ROWS_H

#include <stdint.h>

enum { ROWS = 100000, TABLE_ROWS = 1000000 };
#define DATA_ROWS ((uint64_t)1 << 40)

#endif
