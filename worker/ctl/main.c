/* dp-ctl: looks at a running dp-server, changes its settings and fetches its model. Thread: main. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/options/options.h"
#include "worker/ctl/export.h"
#include "worker/ctl/fields.h"
#include "worker/ctl/fit.h"
#include "worker/ctl/request.h"
#include "worker/ctl/status.h"

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
     .help = "longest wait for an answer"},
    {NULL, "on-server", OPT_FLAG, FIELD(on_server),
     .help = "export: write the file on the server's host, not on this one"},
};
static const struct option_table TABLE = {
    .program = "dp-ctl",
    .summary = "looks at a running dp-server, changes its settings and fetches its model",
    .usage = "  dp-ctl [options] status                 job, progress, workers and shards\n"
             "  dp-ctl [options] set lr VALUE           changes the learning rate while the job runs\n"
             "  dp-ctl [options] set consistency MODE   likewise when slots commit: bsp, ssp:S or async\n"
             "  dp-ctl [options] export FILE            writes the model of the running job as safetensors",
    .footer = "example:\n  dp-ctl --server tcp://head:7700 status --json\n"
              "dp-server --help status explains the members of this object.\n",
    .pages = ctl_pages,
    .page_count = CTL_PAGES,
    .list = OPTIONS,
    .count = ARRAY_LEN(OPTIONS),
    .operands_max = 3,
};

/* A result that nobody got is a failure, also where it is one line. */
static dp_err flush_stdout(dp_error *err)
{
    return fflush(stdout) || ferror(stdout) ? dp_fail(err, DP_IO, "cannot write to stdout: %s", strerror(errno))
                                            : DP_OK;
}

static dp_err print_status(const struct ctl_options *options, const json_t *status, dp_error *err)
{
    if (options->json) {
        json_dumpf(status, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
        fputc('\n', stdout);
    } else {
        ctl_status_print(status, options->server, fit_columns(stdout), stdout);
    }
    return flush_stdout(err);
}

static dp_err run_status(const struct ctl_options *options, dp_error *err)
{
    json_t *status = NULL;
    dp_err e = ctl_request_status(options->server, options->timeout_ms, &status, err);
    if (!e)
        e = print_status(options, status, err);
    json_decref(status);
    return e;
}

static dp_err parse_setting(const char *name, const char *text, struct ctl_setting *ret_setting, dp_error *err)
{
    char *end = NULL;
    if (!name || !text)
        return dp_fail(err, DP_USAGE, "set what? dp-ctl set lr VALUE, dp-ctl set consistency MODE");
    *ret_setting = (struct ctl_setting){.name = name};
    if (strcmp(name, "consistency") == 0) {
        ret_setting->text = text;
        return DP_OK;
    }
    bool vanishes;
    ret_setting->value = float_parse(text, &end, &vanishes);
    if (end == text || *end)
        return dp_fail(err, DP_USAGE, "set %.64s: '%.64s' is not a number", name, text);
    if (!isfinite(ret_setting->value))
        return dp_fail(err, DP_USAGE, "set %.64s: %.64s is too large", name, text);
    if (vanishes)
        return dp_fail(err, DP_USAGE,
                       "set %.64s: %.64s is too small: as a 32-bit float it is 0; the smallest is 1.4e-45", name, text);
    return DP_OK;
}

static void print_setting_json(const struct ctl_setting *setting, uint64_t step, uint64_t train_step)
{
    printf("{\"set\":\"%s\",\"value\":", setting->name);
    if (setting->text)
        printf("\"%s\"", setting->text); /* the server has taken it: nothing is to be escaped */
    else
        printf("%.17g", setting->value);
    printf(",\"step\":%" PRIu64 ",\"train_step\":%" PRIu64 "}\n", step, train_step);
}

static dp_err run_set(const struct ctl_options *options, const char *name, const char *text, dp_error *err)
{
    uint64_t step, train_step;
    struct ctl_setting setting = {.name = ""};
    dp_err e = parse_setting(name, text, &setting, err);
    if (!e)
        e = ctl_request_set(options->server, options->timeout_ms, &setting, &step, &train_step, err);
    if (e)
        return e;
    if (options->json)
        print_setting_json(&setting, step, train_step);
    else if (setting.text)
        printf("%s is %s from training step %" PRIu64 " on\n", name, setting.text, train_step);
    else
        printf("%s is %g from training step %" PRIu64 " on\n", name, setting.value, train_step);
    return flush_stdout(err);
}

static dp_err run_export(const struct ctl_options *options, const char *path, const char *surplus, dp_error *err)
{
    if (!path || !path[0])
        return dp_fail(err, DP_USAGE, "export where to? dp-ctl export FILE");
    if (surplus)
        return dp_fail(err, DP_USAGE, "'%.64s' does not belong to export", surplus);
    return ctl_export_run(&(struct ctl_export){.server = options->server,
                                               .timeout_ms = options->timeout_ms,
                                               .path = path,
                                               .on_server = options->on_server,
                                               .json = options->json},
                          err);
}

static dp_err run(const struct ctl_options *options, const struct options *given, dp_error *err)
{
    const char *words[3] = {0};
    for (size_t i = 0; i < given->operand_count && i < ARRAY_LEN(words); i++)
        words[i] = given->operands[i];
    if (!words[0])
        return dp_fail(err, DP_USAGE, "which command? There are: status, set, export");
    if (strcmp(words[0], "export") == 0)
        return run_export(options, words[1], words[2], err);
    if (options->on_server)
        return dp_fail(err, DP_USAGE, "option --on-server belongs to export, not to %.64s", words[0]);
    if (strcmp(words[0], "set") == 0)
        return run_set(options, words[1], words[2], err);
    if (strcmp(words[0], "status") != 0)
        return dp_fail(err, DP_USAGE, "unknown command '%.64s'; there are: status, set, export", words[0]);
    if (words[1])
        return dp_fail(err, DP_USAGE, "'%.64s' does not belong to status", words[1]);
    return run_status(options, err);
}

int main(int argc, char **argv)
{
    struct options given = {0};
    struct ctl_options options;
    enum option_outcome outcome = OPT_RUN;
    dp_error err = {0};
    stdio_reserve();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    dp_err e = options_parse(&given, &TABLE, &options, argc, argv, &outcome, &err);
    if (!e && outcome == OPT_RUN) {
        options_env_check(&TABLE, stderr);
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
