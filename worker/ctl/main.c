/* dp-ctl: looks at a running dp-server, changes its settings, fetches its model and has checkpoints made.
 * Thread: main. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/process.h"
#include "common/base/util.h"
#include "common/options/options.h"
#include "worker/ctl/commands.h"
#include "worker/ctl/fields.h"

struct ctl_options {
    const char *server;
    const char *secret_file;
    uint64_t timeout_ms;
    bool json;
    bool on_server;
};

#define FIELD(name) offsetof(struct ctl_options, name)
static const struct option OPTIONS[] = {
    {NULL, "server", OPT_STRING, FIELD(server), "ENDPOINT", .dflt = "tcp://127.0.0.1:7700",
     .help = "dp-server to ask, tcp://HOST:PORT or ipc://PATH"},
    {NULL, "secret-file", OPT_STRING, FIELD(secret_file), "FILE",
     .help = "file by which a dp-server of this user knows its own; else ~/.config/dp/secret"},
    {NULL, "json", OPT_FLAG, FIELD(json), .help = "print one JSON object instead of a table"},
    {NULL, "timeout-ms", OPT_U64, FIELD(timeout_ms), "N", .min = 1, .max = 3600000, .dflt = "5000", .unit = "ms",
     .help = "longest wait for an answer; checkpoint: 660000 unless given"},
    {NULL, "on-server", OPT_FLAG, FIELD(on_server),
     .help = "export: write the file on the server's host, not on this one"},
};
/* Its usage is that of the commands. */
static const struct option_table TABLE = {
    .program = "dp-ctl",
    .summary = "looks at a running dp-server, changes its settings, fetches its model and has checkpoints made",
    .footer = "example:\n  dp-ctl --server tcp://head:7700 status --json\n"
              "dp-server --help status explains the members of this object.\n",
    .pages = ctl_pages,
    .page_count = CTL_PAGES,
    .list = OPTIONS,
    .count = ARRAY_LEN(OPTIONS),
    .operands_max = 1 + CTL_WORDS_MAX,
};

static dp_err run(const struct ctl_options *options, const struct options *given, dp_error *err)
{
    struct ctl_connection connection = {.server = options->server, .timeout_ms = options->timeout_ms};
    struct ctl_call call = {.connection = &connection,
                            .json = options->json,
                            .on_server = options->on_server,
                            .timeout_given = options_source(given, "timeout-ms") != OPT_FROM_DEFAULT};
    dp_err e = ctl_run(&call, given->operands, given->operand_count, err);
    ctl_connection_close(&connection);
    return e;
}

int main(int argc, char **argv)
{
    char usage[CTL_USAGE_BYTES];
    struct option_table table = TABLE;
    struct options given = {0};
    struct ctl_options options;
    enum option_outcome outcome = OPT_RUN;
    dp_error err = {0};
    stdio_reserve();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    table.usage = ctl_usage(usage);
    dp_err e = options_parse(&given, &table, &options, argc, argv, &outcome, &err);
    if (!e && outcome == OPT_RUN) {
        options_env_check(&table, stderr);
        if (options.secret_file && setenv("DP_SECRET_FILE", options.secret_file, 1)) /* requests look for it there */
            e = dp_fail(&err, DP_NOMEM, "out of memory for --secret-file");
        else
            e = run(&options, &given, &err);
    }
    options_fini(&given);
    if (e)
        fprintf(stderr, "dp-ctl: %s\n", err.text);
    return dp_err_exit_status(e);
}
