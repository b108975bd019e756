/* dp-ctl: looks at a running dp-server. Thread: main. */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "ctl_request.h"
#include "ctl_status.h"
#include "options.h"
#include "util.h"

struct ctl_options {
    const char *server;
    uint64_t timeout_ms;
    bool json;
};

#define FIELD(name) offsetof(struct ctl_options, name)
static const struct option OPTIONS[] = {
    {NULL, "server", OPT_STRING, FIELD(server), "ENDPOINT", .dflt = "tcp://127.0.0.1:7700",
     .help = "dp-server to ask, tcp://HOST:PORT"},
    {NULL, "json", OPT_FLAG, FIELD(json), .help = "print one JSON object instead of a table"},
    {NULL, "timeout-ms", OPT_U64, FIELD(timeout_ms), "N", .min = 1, .max = 3600000, .dflt = "5000", .unit = "ms",
     .help = "how long to wait for the answer"},
};
static const struct option_table TABLE = {
    .program = "dp-ctl",
    .summary = "looks at a running dp-server",
    .usage = "  dp-ctl [options] status     job, progress, workers and shards",
    .footer = "example:\n  dp-ctl --server tcp://head:7700 status --json\n",
    .list = OPTIONS,
    .count = ARRAY_LEN(OPTIONS),
    .operands_max = 1,
};

static dp_err print_status(const struct ctl_options *options, const json_t *status, dp_error *err)
{
    if (options->json) {
        json_dumpf(status, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
        fputc('\n', stdout);
    } else {
        ctl_status_print(status, options->server, stdout);
    }
    return fflush(stdout) || ferror(stdout) ? dp_fail(err, DP_IO, "cannot write to stdout: %s", strerror(errno))
                                            : DP_OK;
}

static dp_err run(const struct ctl_options *options, const char *command, dp_error *err)
{
    if (!command)
        return dp_fail(err, DP_USAGE, "which command? There is: status");
    if (strcmp(command, "status") != 0)
        return dp_fail(err, DP_USAGE, "unknown command '%.64s'; there is: status", command);
    json_t *status = NULL;
    dp_err e = ctl_request_status(options->server, options->timeout_ms, &status, err);
    if (!e)
        e = print_status(options, status, err);
    json_decref(status);
    return e;
}

int main(int argc, char **argv)
{
    struct options given = {0};
    struct ctl_options options;
    enum option_outcome outcome = OPT_RUN;
    dp_error err = {0};
    stdio_reserve();
    signal(SIGPIPE, SIG_IGN);
    dp_err e = options_parse(&given, &TABLE, &options, argc, argv, &outcome, &err);
    if (!e && outcome == OPT_RUN)
        e = run(&options, given.operands[0], &err);
    options_fini(&given);
    if (e)
        fprintf(stderr, "dp-ctl: %s\n", err.text);
    return dp_err_exit_status(e);
}
