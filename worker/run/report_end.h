/* The last object of dp-worker --json if train, eval or predict were not done. Thread: main. */
#ifndef DP_WORKER_RUN_REPORT_END_H
#define DP_WORKER_RUN_REPORT_END_H

#include <stdint.h>
#include <stdio.h>

#include "common/base/dp_err.h"

/* Work that a worker has done so far. */
struct report_totals {
    uint64_t steps;          /* that it had a part in */
    uint64_t slots, samples; /* that it computed */
};

/* {"event": "stopped" | "diverged" | "failed", "steps", "slots", "samples", "reason", "exit_code"}, one line.
 * `stopped`: by a signal of ours. */
void report_end(FILE *out, const dp_error *err, int stopped, int exit_code, const struct report_totals *totals);
/* The same of what is done where its lines do not say so: of predict to a file. */
void report_end_done(FILE *out);

#endif
