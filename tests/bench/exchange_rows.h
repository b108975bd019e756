/* What bench_exchange_rows and its worker agree on. */
#ifndef DP_BENCH_EXCHANGE_ROWS_H
#define DP_BENCH_EXCHANGE_ROWS_H

enum { ROWS = 100000, TABLE_ROWS = 1000000 };

#endif
