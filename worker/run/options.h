/* Options of dp-worker: the struct that the table in options.c fills. Thread: main. */
#ifndef DP_WORKER_RUN_OPTIONS_H
#define DP_WORKER_RUN_OPTIONS_H

#include "common/options/data_options.h"
#include "common/options/options.h"

enum worker_command { WORKER_TRAIN, WORKER_PREDICT, WORKER_EVAL, WORKER_INSPECT };

struct worker_options {
    const char *server;
    const char *name;
    const char *secret_file; /* NULL: the usual one */
    uint64_t connect_timeout_s;
    uint64_t server_timeout_s;
    double emulate_slower;
    const char *model;
    struct option_list l1, l2, group_lasso, constraint;
    uint64_t group_size;
    const char *output;
    bool scores;
    bool no_labels;
    struct data_options data;
    int kernels;
    const char *config;
    uint64_t parent_pid; /* 0: none is watched */
    int shm;             /* dp_shm */
    int log_level;       /* enum log_level */
    bool quiet;
    bool json;
};

extern const struct option_table worker_option_table;

/* The command among the operands (none: train) and whether it has what it needs. DP_USAGE. */
DP_MUST_CHECK dp_err worker_options_check(const struct options *given, const struct worker_options *opts,
                                          enum worker_command *ret_command, dp_error *err);

#endif
