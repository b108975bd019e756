/* Options of dp-server: one table for the command line, the environment, the file, --help and the reference in
 * server/README.md. */
#include "server_options.h"

#include <float.h>
#include <stddef.h>
#include <string.h>

#include "kernels.h"
#include "shm.h"
#include "steps.h"
#include "update.h"

#define ROW(topic, field, name, type, arg, min, max, dflt, unit, choices, help)                             \
    {                                                                                                       \
        topic, name, type, offsetof(struct server_options, field), arg, min, max, dflt, unit, choices, help \
    }

enum { HOST_MAX = 100 }; /* with scheme and port within what a port's endpoint may have */

static const struct option ROWS[] = {
    ROW("job", model, "model", OPT_STRING, "NAME", 0, 0, NULL, NULL, NULL,
        "linear, logistic, softmax; free: tensors that clients of libdp declare (required)"),
    ROW("job", features, "features", OPT_U64, "N", 0, 1e15, "0", NULL, NULL,
        "columns of the data; 0: as many as the data have"),
    ROW("job", hash_bits, "hash-bits", OPT_U64, "N", 0, 31, "0", NULL, NULL,
        "hash the features of LIBSVM data, any 64-bit numbers, to 2^N columns; 0: not"),
    ROW("job", sparse, "sparse", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "keep the weights in a table, of which a worker moves only rows that its data touch"),
    ROW("job", classes, "classes", OPT_U64, "C", 0, 65536, "0", NULL, NULL,
        "softmax: labels are 0..C-1; 0: those in the data"),
    ROW("job", intercept, "intercept", OPT_SWITCH, NULL, 0, 0, "on", NULL, NULL,
        "a bias that is learnt and not regularized"),
    ROW("job", batch, "batch", OPT_U64, "B", 1, 1e15, "1024", "rows", NULL,
        "global minibatch, whatever the number of workers"),
    ROW("job", slots, "slots", OPT_U64, "K", 1, STEPS_SLOTS_MAX, "8", NULL, NULL,
        "shares of a minibatch, the unit of work; part of the result's bits"),
    ROW("job", epochs, "epochs", OPT_U64, "E", 1, 1e12, "10", NULL, NULL, "passes over the data"),
    ROW("job", steps, "steps", OPT_U64, "T", 0, 1e15, "0", NULL, NULL, "training steps instead of epochs"),
    ROW("job", seed, "seed", OPT_U64, "S", 0, 1.8e19, "1", NULL, NULL,
        "of initial parameters and the order of the data"),
    ROW("job", mixed_numerics, "mixed-numerics", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "take workers whose CPU or build gives other bits"),
    ROW("job", data_mode, "data-mode", OPT_CHOICE, "MODE", 0, 0, "shared", NULL, "shared|local",
        "shared: every worker has all data; local: each has its own and one of --slots, which nobody takes over"),
    ROW("job", by_blocks, "shuffle", OPT_CHOICE, "HOW", 0, 0, "rows", NULL, "rows|block",
        "order of an epoch: of all rows, or of blocks and of the rows of some blocks at a time, for data that workers "
        "hold in part (dp-worker --memory-limit)"),
    ROW("job", block_rows, "block-rows", OPT_U64, "N", 1, 1e9, "4096", "rows", NULL,
        "--shuffle block: rows of a block"),
    ROW("job", window_blocks, "window-blocks", OPT_U64, "N", 1, 65536, "16", NULL, NULL,
        "--shuffle block: blocks whose rows are mixed"),
    ROW("job", consistency, "consistency", OPT_STRING, CONSISTENCY_FORMS, 0, 0, "bsp", NULL, NULL,
        "one commit a step; or each slot's when it arrives, steps up to S apart; async: S = 32"),

    UPDATE_OPTION_ROWS(struct server_options, update),

    ROW("server", listen, "listen", OPT_STRING, "ENDPOINT", 0, 0, "tcp://127.0.0.1:7700", NULL, NULL,
        "where workers come; port 0 takes a free one; ipc://PATH or ipc://@NAME is a socket of this machine"),
    ROW("server", advertise, "advertise", OPT_STRING, "HOST", 0, 0, NULL, NULL, NULL,
        "host that workers reach the shards by; else that by which they came"),
    ROW("server", port_file, "port-file", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL,
        "the chosen endpoint is written here"),
    ROW("server", shards, "shards", OPT_U64, "N", 1, 64, "1", NULL, NULL,
        "threads that each hold a range of the parameters"),
    ROW("server", local_workers, "local-workers", OPT_U64, "N", 0, 1024, "0", NULL, NULL,
        "starts N dp-worker processes here and looks after them"),
    ROW("server", exit_when_done, "exit-when-done", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "end when the job is done"),
    ROW("server", export_path, "export", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL,
        "writes the model as safetensors at the end"),
    ROW("server", insecure, "insecure", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "listen beyond loopback without encryption or authentication"),
    ROW("server", shm, "shm", OPT_CHOICE, "MODE", 0, 0, "auto", NULL, SHM_MODES,
        "memory shared with workers of this machine; on: or fail, auto: where it can be had"),
    ROW("server", kernels, "kernels", OPT_CHOICE, "TABLE", 0, 0, "auto", NULL, "auto|ref|avx2|avx512",
        "vector kernels to use"),
    ROW("server", config, "config", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL, "flat YAML file of options"),

    ROW("workers", min_workers, "min-workers", OPT_U64, "N", 1, 4096, "1", NULL, NULL,
        "no step is begun while there are fewer"),
    ROW("workers", max_workers, "max-workers", OPT_U64, "N", 0, 4096, "0", NULL, NULL,
        "one more is asked to wait until another leaves; 0: as many as come"),
    ROW("workers", lease_s, "lease", OPT_U64, "S", 1, 86400, "10", "s", NULL,
        "a worker silent for so long is given up"),
    ROW("workers", stall_timeout_s, "stall-timeout", OPT_U64, "S", 1, 86400, "30", "s", NULL,
        "a step that waits for so long is reported, with who owes what"),
    ROW("workers", on_stall, "on-stall", OPT_CHOICE, "WHAT", 0, 0, "wait", NULL, "wait|fail|drop",
        "then: give what is owed to another worker too and wait on, end the job, or leave it out of the step, which "
        "changes the result"),
    ROW("workers", drop_slowest, "drop-slowest", OPT_U64, "B", 0, STEPS_SLOTS_MAX - 1, "0", NULL, NULL,
        "bsp: once all but B slots of a training step are there, it is committed without these, which changes the "
        "result; 0: none are dropped"),
    ROW("workers", balance, "balance", OPT_CHOICE, "HOW", 0, 0, "speed", NULL, "off|speed",
        "slots that a worker gets: equal shares, or by its measured speed"),
    ROW("workers", speculate, "speculate", OPT_CHOICE, "WHEN", 0, 0, "auto", NULL, "off|auto",
        "auto: late slots are also given to idle workers; the first result counts"),

    ROW("output", quiet, "quiet", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL, "no progress and no summary, only trouble"),
    ROW("output", verbose, "verbose", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "-v: at the end, what each shard moved, copied and waited for"),
    ROW("output", json, "json", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL, "one JSON object per line on stdout"),
    ROW("output", log_level, "log-level", OPT_CHOICE, "LEVEL", 0, 0, "warn", NULL, "error|warn|info|debug",
        "events to log on stderr"),

    DATA_OPTION_ROWS(struct server_options, data),
};

const struct option_table server_option_table = {
    .program = "dp-server",
    .summary = "holds the parameters of a training job and applies the workers' gradients",
    .usage = "  dp-server --model NAME [options]\n"
             "  dp-server --model NAME --local-workers N --data FILE [options]\n",
    .topics = "job: what is trained, and on how much at a time\n"
              "update: how parameters follow gradients\n"
              "server: where it listens, shards, life and end\n"
              "workers: who may come, who computes what\n"
              "data: handed to --local-workers\n"
              "output: what is shown\n",
    .footer =
        "  dp-server --model logistic --local-workers 2 --data train.libsvm --exit-when-done --export m.safetensors\n"
        "  dp-server --model softmax --listen tcp://0.0.0.0:7700 --insecure\n",
    .list = ROWS,
    .count = sizeof ROWS / sizeof ROWS[0],
};

/* Names that begin like an address, such as 127.example.org, may lead anywhere. */
static bool is_loopback(const char *listen)
{
    static const char *const LOCAL[] = {"tcp://localhost:", "tcp://[::1]:", "tcp://lo:", "ipc://"};
    static const char NET[] = "tcp://127.";
    for (size_t i = 0; i < sizeof LOCAL / sizeof LOCAL[0]; i++)
        if (strncmp(listen, LOCAL[i], strlen(LOCAL[i])) == 0)
            return true;
    if (strncmp(listen, NET, strlen(NET)) != 0)
        return false;
    const char *rest = listen + strlen(NET);
    return rest[strspn(rest, "0123456789.")] == ':';
}

static bool given(const struct options *options, const char *name)
{
    return options_source(options, name) != OPT_FROM_DEFAULT;
}

/* A name, an IPv4 address, or an IPv6 one in brackets: what stands between tcp:// and :PORT. */
static dp_err check_host(const char *host, dp_error *err)
{
    size_t length = strlen(host);
    bool bracketed = host[0] == '[' && host[length - 1] == ']';
    if (length == 0 || length > HOST_MAX || strpbrk(host, " \t/*") || (strchr(host, ':') && !bracketed))
        return dp_fail(err, DP_USAGE,
                       "option --advertise: '%s' is not a host: give a name or an address that workers reach, such as "
                       "head.example or 192.0.2.1, or [2001:db8::1], without a port",
                       host);
    return DP_OK;
}

static dp_err check_network(const struct server_options *opts, dp_error *err)
{
    if (strncmp(opts->listen, "tcp://", 6) != 0 && strncmp(opts->listen, "ipc://", 6) != 0)
        return dp_fail(err, DP_USAGE, "option --listen: '%s' is not of the form tcp://HOST:PORT or ipc://PATH",
                       opts->listen);
    if (!is_loopback(opts->listen) && !opts->insecure)
        return dp_fail(err, DP_USAGE,
                       "option --listen: %s can be reached from other machines, and nothing protects it; "
                       "give --insecure if the network is trusted, or listen on tcp://127.0.0.1:PORT",
                       opts->listen);
    return opts->advertise ? check_host(opts->advertise, err) : DP_OK;
}

/* What workers must agree on is not found in anybody's data. */
static dp_err check_local(const struct options *options, const struct server_options *opts, dp_error *err)
{
    bool is_free = strcmp(opts->model, "free") == 0, softmax = strcmp(opts->model, "softmax") == 0;
    if (is_free && given(options, "data-mode") && opts->data_mode == 0)
        return dp_fail(err, DP_USAGE, "option --model free is for workers with data of their own: --data-mode local");
    if (!is_free && opts->features == 0)
        return dp_fail(err, DP_USAGE,
                       "option --data-mode local needs --features N: no worker's data say it for all of them");
    if (softmax && opts->classes == 0)
        return dp_fail(err, DP_USAGE,
                       "option --data-mode local needs --classes C: no worker's data say it for all of them");
    if (opts->min_workers > opts->slots)
        return dp_fail(
            err, DP_USAGE,
            "option --min-workers: with --data-mode local a worker has a slot of its own, and of --slots %llu "
            "%llu cannot wait for %llu",
            (unsigned long long)opts->slots, (unsigned long long)opts->slots, (unsigned long long)opts->min_workers);
    if (opts->steps == 0 && opts->update.lr_period == 0 &&
        (opts->update.schedule == SCHEDULE_COSINE || opts->update.schedule == SCHEDULE_ONE_CYCLE))
        return dp_fail(
            err, DP_USAGE,
            "option --lr-schedule: with --data-mode local nobody knows how many steps the job will have; give "
            "--lr-period or --steps");
    if (opts->sparse)
        return dp_fail(err, DP_USAGE,
                       "options --sparse and --data-mode local exclude each other: a job of workers with data of their "
                       "own has no tables");
    if (opts->local_workers)
        return dp_fail(err, DP_USAGE,
                       "option --local-workers gives the same --data to all; with --data-mode local start each worker "
                       "with its own");
    return DP_OK;
}

static dp_err check_consistency(struct server_options *opts, dp_error *err)
{
    if (consistency_parse(opts->consistency, &opts->staleness, err))
        return dp_fail_in(err, "option --consistency");
    if (opts->staleness > 0 && opts->local)
        return dp_fail(
            err, DP_USAGE,
            "options --consistency and --data-mode local: slots that come and go with their workers commit once "
            "a step; use bsp");
    if (opts->staleness == 0 && opts->setup.params.schedule.kind == SCHEDULE_ADA_DELAY)
        return dp_fail(
            err, DP_USAGE,
            "option --lr-schedule ada-delay goes by the delay of commits on arrival: under bsp there is none; use "
            "--consistency ssp:S or async, or --lr-schedule inv-sqrt");
    if (opts->staleness == 0 && opts->setup.params.compensation > 0)
        return dp_fail(
            err, DP_USAGE,
            "option --delay-compensation is for gradients that come after others have been committed: under bsp none "
            "does, as all of a step are computed on one theta and committed together; use --consistency ssp:S or "
            "async");
    if (opts->staleness > 0 && opts->sparse)
        return dp_fail(err, DP_USAGE,
                       "options --consistency and --sparse: rows of tables commit once a step; use bsp, or leave out "
                       "--sparse");
    return opts->staleness > 0 ? update_options_check_arrival(&opts->setup, err) : DP_OK;
}

/* Of a step from which slots may be dropped, each shard must wait for the head's word on what commits. */
static dp_err check_drop(const struct server_options *opts, dp_error *err)
{
    const char *option = opts->drop_slowest ? "--drop-slowest" : "--on-stall drop";
    if (!opts->drop_slowest && opts->on_stall != ON_STALL_DROP)
        return DP_OK;
    if (opts->drop_slowest >= opts->slots)
        return dp_fail(err, DP_USAGE, "option --drop-slowest: of %llu slots at most %llu can be dropped",
                       (unsigned long long)opts->slots, (unsigned long long)opts->slots - 1);
    if (opts->local)
        return dp_fail(err, DP_USAGE,
                       "option %s: with --data-mode local the slot of a worker that left is void, and what a slow one "
                       "owes are data that nobody else has",
                       option);
    if (opts->staleness > 0)
        return dp_fail(err, DP_USAGE,
                       "option %s is for --consistency bsp: where slots commit on arrival, no step waits for the "
                       "slowest",
                       option);
    if (opts->sparse)
        return dp_fail(err, DP_USAGE,
                       "option %s: rows of tables commit as soon as their own slots are there, so that no slot can be "
                       "dropped on all shards alike; leave out --sparse",
                       option);
    return DP_OK;
}

dp_err server_options_check(const struct options *options, struct server_options *opts, dp_error *err)
{
    opts->batch_given = given(options, "batch");
    if (opts->hash_bits && opts->features)
        return dp_fail(err, DP_USAGE, "options --features and --hash-bits exclude each other: N bits are 2^N features");
    if (opts->hash_bits)
        opts->features = UINT64_C(1) << opts->hash_bits;
    if (!opts->model)
        return dp_fail(err, DP_USAGE, "option --model is missing: give linear, logistic, softmax or free");
    if (strcmp(opts->model, "linear") != 0 && strcmp(opts->model, "logistic") != 0 &&
        strcmp(opts->model, "softmax") != 0 && strcmp(opts->model, "free") != 0)
        return dp_fail(err, DP_USAGE, "option --model: '%s' is not one of linear, logistic, softmax, free",
                       opts->model);
    opts->local = opts->data_mode == 1 || strcmp(opts->model, "free") == 0;
    if (!opts->by_blocks && (given(options, "block-rows") || given(options, "window-blocks")))
        return dp_fail(err, DP_USAGE, "options --block-rows and --window-blocks belong to --shuffle block");
    if (opts->local && check_local(options, opts, err))
        return err->code;
    if (opts->local) { /* its slots cannot move */
        opts->balance = BALANCE_OFF;
        opts->speculate = SPECULATE_OFF;
    }
    if (given(options, "steps") && given(options, "epochs") && opts->steps > 0)
        return dp_fail(err, DP_USAGE, "options --steps and --epochs exclude each other: give one of them");
    if (opts->classes && strcmp(opts->model, "softmax") != 0)
        return dp_fail(err, DP_USAGE, "option --classes belongs to --model softmax, not to %s", opts->model);
    if (opts->classes == 1)
        return dp_fail(err, DP_USAGE, "option --classes: at least 2");
    if (opts->local_workers && !opts->data.data)
        return dp_fail(err, DP_USAGE, "option --local-workers needs --data FILE for them to read");
    if (!opts->local_workers && (opts->data.data || opts->data.eval))
        return dp_fail(err, DP_USAGE,
                       "options --data and --eval are for --local-workers; workers elsewhere are given theirs: "
                       "dp-worker --data FILE");
    if (opts->max_workers && opts->min_workers > opts->max_workers)
        return dp_fail(err, DP_USAGE, "options --min-workers and --max-workers: at least %llu, but at most %llu",
                       (unsigned long long)opts->min_workers, (unsigned long long)opts->max_workers);
    dp_err e = check_network(opts, err);
    if (!e)
        e = update_options_check(options, &opts->update, &opts->setup, err);
    if (!e && (check_consistency(opts, err) || check_drop(opts, err))) {
        update_setup_fini(&opts->setup);
        e = err->code;
    }
    return e;
}

void server_options_fini(struct server_options *opts)
{
    update_setup_fini(&opts->setup);
}
