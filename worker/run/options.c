/* Options of dp-worker: one table for the command line, the environment, the file, --help and the reference in
 * worker/README.md. */
#include "worker/run/options.h"

#include <stddef.h>
#include <string.h>

#include "common/net/endpoint.h"
#include "common/net/shm.h"
#include "worker/run/fields.h"

#define ROW(topic, field, name, type, arg, min, max, dflt, unit, choices, help)                             \
    {                                                                                                       \
        topic, name, type, offsetof(struct worker_options, field), arg, min, max, dflt, unit, choices, help \
    }

static const struct option ROWS[] = {
    ROW("train", server, "server", OPT_STRING, "ENDPOINT", 0, 0, NULL, NULL, NULL,
        "dp-server to work for: tcp://HOST:PORT or ipc://PATH"),
    ROW("train", name, "name", OPT_STRING, "TEXT", 0, 0, NULL, NULL, NULL,
        "shown in status; a worker started again with its name has its number back; else host:pid"),
    ROW("train", connect_timeout_s, "connect-timeout", OPT_U64, "S", 1, 86400, "30", "s", NULL,
        "longest time for reaching the server at first"),
    ROW("train", server_timeout_s, "server-timeout", OPT_U64, "S", 1, 86400, "60", "s", NULL,
        "longest silence of the server later on"),
    ROW("train", shm, "shm", OPT_CHOICE, "MODE", 0, 0, "auto", NULL, SHM_MODES,
        "memory shared with a dp-server on this machine; on: or fail, auto: where it can be had"),
    ROW("train", secret_file, "secret-file", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL,
        "file by which a dp-server of this user on this host knows its own; else ~/.config/dp/secret"),
    ROW("train", parent_pid, "die-with-parent", OPT_U64, "PID", 0, 4194304, "0", NULL, NULL,
        "end when this process ends, which started this one; 0: go on"),

    ROW("train", emulate_slower, "emulate-slower", OPT_F64, "FACTOR", 1, 1e6, "1", NULL, NULL,
        "factor by which a slot of this worker takes longer than --emulate-slot-ms"),

    DATA_OPTION_ROWS(struct worker_options, data),

    ROW("model", model, "model", OPT_STRING, "MODEL|CHECKPOINT", 0, 0, NULL, NULL, NULL,
        "predict, eval, inspect: file that dp-server exported, a checkpoint's folder, or --checkpoint-dir for its "
        "newest"),
    ROW("model", l1, "l1", OPT_LIST, "X[@TENSOR]", 0, 0, NULL, NULL, NULL,
        "eval: as dp-server was given it, for the objective and how stationary theta is"),
    ROW("model", l2, "l2", OPT_LIST, "X[@TENSOR]", 0, 0, NULL, NULL, NULL, "eval: likewise"),
    ROW("model", group_lasso, "group-lasso", OPT_LIST, "X[@TENSOR]", 0, 0, NULL, NULL, NULL, "eval: likewise"),
    ROW("model", group_size, "group-size", OPT_U64, "N", 0, 262144, "0", NULL, NULL, "eval: likewise; 0: a row"),
    ROW("model", constraint, "constraint", OPT_LIST, "KIND[=ARG][@TENSOR]", 0, 0, NULL, NULL, NULL,
        "eval: likewise, for how far theta is from it as well; see dp-server --help update"),
    ROW("model", output, "output", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL,
        "predict: write here instead of to stdout"),
    ROW("model", scores, "scores", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "predict: the probability of each class as well"),
    ROW("model", no_labels, "no-labels", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "predict: the rows have features only"),

    ROW("output", quiet, "quiet", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL, "tell of errors only"),
    ROW("output", json, "json", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "one JSON object per line on stdout; predict: for each row, in --output if that is given"),
    ROW("output", log_level, "log-level", OPT_CHOICE, "LEVEL", 0, 0, "warn", NULL, "error|warn|info|debug",
        "events to log on stderr"),
    ROW("output", kernels, "kernels", OPT_CHOICE, "TABLE", 0, 0, "auto", NULL, "auto|ref|avx2|avx512",
        "vector kernels to use"),
    ROW("output", config, "config", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL, "flat YAML file of options"),
};

const struct option_table worker_option_table = {
    .program = "dp-worker",
    .summary = "computes gradients for a dp-server; predicts with, evaluates and inspects the model",
    .usage = "  dp-worker [train] --server ENDPOINT --data FILE [--eval FILE] [options]\n"
             "  dp-worker predict --model MODEL|CHECKPOINT --data FILE [options]\n"
             "  dp-worker eval    --model MODEL|CHECKPOINT --data FILE [options]\n"
             "  dp-worker inspect --model MODEL|CHECKPOINT [--json]\n",
    .topics = "train: the server and how long to wait for it\n"
              "data: what is read\n"
              "model: predict, eval and inspect\n"
              "output: what is shown\n",
    .footer = "  dp-worker --server tcp://head:7700 --data train.libsvm --threads 8\n"
              "  dp-worker eval --model m.safetensors --data test.libsvm --json\n",
    .operands_max = 1,
    .pages = worker_pages,
    .page_count = WORKER_PAGES,
    .list = ROWS,
    .count = sizeof ROWS / sizeof ROWS[0],
};

static const char *const COMMANDS[] = {
    [WORKER_TRAIN] = "train", [WORKER_PREDICT] = "predict", [WORKER_EVAL] = "eval", [WORKER_INSPECT] = "inspect"};

static dp_err find_command(const struct options *given, enum worker_command *ret_command, dp_error *err)
{
    const char *name = given->operand_count ? given->operands[0] : "train";
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (strcmp(name, COMMANDS[i]) == 0) {
            *ret_command = (enum worker_command)i;
            return DP_OK;
        }
    return dp_fail(
        err, DP_USAGE,
        "'%s' is not one of train, predict, eval, inspect, and each option takes one value; see dp-worker --help",
        name);
}

enum {
    TRAIN = 1 << WORKER_TRAIN,
    PREDICT = 1 << WORKER_PREDICT,
    EVAL = 1 << WORKER_EVAL,
    INSPECT = 1 << WORKER_INSPECT,
    DATA = TRAIN | PREDICT | EVAL
};

/* Options that only some commands have. */
static const struct {
    const char *name;
    unsigned commands;
} OWNED[] = {
    {"server", TRAIN},
    {"name", TRAIN},
    {"connect-timeout", TRAIN},
    {"server-timeout", TRAIN},
    {"eval", TRAIN},
    {"eval-labels", TRAIN},
    {"emulate-slot-ms", TRAIN},
    {"emulate-stalls", TRAIN},
    {"emulate-slower", TRAIN},
    {"memory-limit", TRAIN},
    {"shm", TRAIN},
    {"secret-file", TRAIN},
    {"threads", TRAIN},
    {"die-with-parent", TRAIN},
    {"data", DATA},
    {"format", DATA},
    {"header", DATA},
    {"label-column", DATA},
    {"ignore-columns", DATA},
    {"extra-features", DATA},
    {"labels", DATA},
    {"model", PREDICT | EVAL | INSPECT},
    {"l1", EVAL},
    {"l2", EVAL},
    {"group-lasso", EVAL},
    {"group-size", EVAL},
    {"constraint", EVAL},
    {"output", PREDICT},
    {"scores", PREDICT},
    {"no-labels", PREDICT},
};

/* Those of the environment may be meant for another program or command. */
static dp_err check_owned(const struct options *given, enum worker_command command, dp_error *err)
{
    for (size_t i = 0; i < sizeof OWNED / sizeof *OWNED; i++)
        if (!(OWNED[i].commands >> command & 1) && options_source(given, OWNED[i].name) == OPT_FROM_ARGS)
            return dp_fail(err, DP_USAGE, "option --%s does not belong to dp-worker %s; see dp-worker --help",
                           OWNED[i].name, COMMANDS[command]);
    return DP_OK;
}

static dp_err check_train(const struct worker_options *opts, dp_error *err)
{
    struct endpoint endpoint;
    if (!opts->server)
        return dp_fail(
            err, DP_USAGE,
            "option --server is missing: give the endpoint that dp-server shows, such as tcp://127.0.0.1:7700");
    if (endpoint_parse(opts->server, &endpoint, err))
        return dp_fail_in(err, "option --server");
    return data_options_check(&opts->data, err);
}

dp_err worker_options_check(const struct options *given, const struct worker_options *opts,
                            enum worker_command *ret_command, dp_error *err)
{
    dp_err e = find_command(given, ret_command, err);
    if (!e)
        e = check_owned(given, *ret_command, err);
    if (e)
        return e;
    if (!opts->data.data && *ret_command != WORKER_INSPECT)
        return dp_fail(err, DP_USAGE, "option --data is missing: give the file to read");
    if (*ret_command == WORKER_TRAIN)
        return check_train(opts, err);
    if (!opts->model)
        return dp_fail(err, DP_USAGE,
                       "option --model is missing: give the file that dp-server --export wrote, or a "
                       "checkpoint");
    if (*ret_command == WORKER_EVAL && opts->group_size && opts->group_lasso.count == 0)
        return dp_fail(err, DP_USAGE, "option --group-size belongs to --group-lasso");
    return DP_OK;
}
