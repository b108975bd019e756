/* The rows that a worker of the exchange bench touches. Thread: main. */
#ifndef DP_TESTS_BENCH_EXCHANGE_WORKER_H
#define DP_TESTS_BENCH_EXCHANGE_WORKER_H

#include "worker/dp.h"

/* dp_model.rows: those of all of the task's slots, each of which has EXCHANGE_ROWS random ones of its own. */
dp_err worker_rows(void *arg, const dp_ask *ask, dp_rows *ret_rows, dp_error *err);

#endif
