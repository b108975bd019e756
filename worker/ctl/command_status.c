/* dp-ctl status. Thread: main. */
#include <jansson.h>
#include <stdio.h>

#include "worker/ctl/ask_status.h"
#include "worker/ctl/command.h"
#include "worker/ctl/fit.h"
#include "worker/ctl/status.h"

static dp_err run(const struct ctl_call *call, dp_error *err)
{
    json_t *status = NULL;
    dp_err e = ctl_ask_status(call->connection, &status, err);
    if (!e && call->json) {
        json_dumpf(status, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
        fputc('\n', stdout);
    } else if (!e) {
        ctl_status_print(status, call->connection->server, fit_columns(stdout), stdout);
    }
    json_decref(status);
    return e;
}

const struct ctl_command ctl_status = {
    .name = "status",
    .uses = {{"status", "job, progress, workers and shards"}},
    .run = run,
};
