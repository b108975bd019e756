/* Output of a worker: lines on stderr for people, objects on stdout (--json) for programs. Thread: main. */
#ifndef DP_WORKER_RUN_REPORT_H
#define DP_WORKER_RUN_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/data/blocks.h"
#include "worker/dp.h"

struct report {
    bool quiet;
    bool json;
    bool evaluates; /* steps that are counted are also those of evaluations */
};

/* Trouble and recovery. */
void report_notice(const struct report *report, const char *text);
/* Columns of a file whose scales differ, as worker/data/look.h names them. */
void report_scales(const struct report *report, const char *file, const char *scales);
void report_data(const struct report *report, const char *role, const struct data_blocks_facts *data, double seconds);
void report_joined(const struct report *report, const char *server, const dp_job *job);
/* `what` is over: the job, or the worker's part in it. */
void report_done(const struct report *report, const char *what, uint64_t tasks, uint64_t slots, uint64_t samples,
                 double seconds);

#endif
