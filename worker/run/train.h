/* The training loop of dp-worker: what a worker does from connecting to the end of the job. Thread: main. */
#ifndef DP_WORKER_RUN_TRAIN_H
#define DP_WORKER_RUN_TRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/options/data_options.h"
#include "worker/dp.h"
#include "worker/run/report_end.h"

struct train_options {
    const char *server;
    const char *name; /* NULL: host:pid */
    uint64_t connect_timeout_s;
    uint64_t server_timeout_s;
    dp_shm shm;
    const char *secret_file; /* NULL: the usual one */
    struct data_options data;
    double emulate_slower;
    bool quiet;                   /* tells of errors only */
    bool json;                    /* one object per line on stdout */
    const volatile int *stop;     /* set by a signal handler */
    struct report_totals *totals; /* work that was done, also if it fails; may be NULL */
};

/* Works for a server until its job is done. DP_OK then; the server was told of any error of ours. */
DP_MUST_CHECK dp_err train_run(const struct train_options *opts, dp_error *err);

#endif
