/* A command of dp-ctl: its row of the table in commands.c. Thread: main. */
#ifndef DP_WORKER_CTL_COMMAND_H
#define DP_WORKER_CTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/dp_err.h"
#include "worker/ctl/connection.h"

enum { CTL_WORDS_MAX = 2, CTL_USES_MAX = 2 };

/* A call as it was given. */
struct ctl_call {
    struct ctl_connection *connection; /* its first question opens it */
    const char *words[CTL_WORDS_MAX];  /* those behind the name of the command; NULL: not given */
    bool json;
    bool on_server;
    bool timeout_given; /* --timeout-ms is the user's, also where an answer takes long */
};

struct ctl_command {
    const char *name;
    struct ctl_use {
        const char *words, *text;                              /* a line of --help: how to write it, its effect */
    } uses[CTL_USES_MAX];                                      /* up to the first without words */
    size_t words_max;                                          /* more words are refused */
    bool on_server;                                            /* takes --on-server */
    dp_err (*run)(const struct ctl_call *call, dp_error *err); /* prints the result to stdout */
};

extern const struct ctl_command ctl_status, ctl_set, ctl_export, ctl_checkpoint;

#endif
