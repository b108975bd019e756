/* Options of dp-server: one table for the command line, the environment, the file, --help and the reference in
 * server/README.md. */
#include "server/options/options.h"

#include <float.h>
#include <stddef.h>

#include "common/kernels/kernels.h"
#include "common/net/shm.h"
#include "server/options/fields.h"
#include "server/step/steps.h"
#include "server/update/update.h"

#define ROW(topic, field, name, type, arg, min, max, dflt, unit, choices, help)                             \
    {                                                                                                       \
        topic, name, type, offsetof(struct server_options, field), arg, min, max, dflt, unit, choices, help \
    }

static const struct option ROWS[] = {
    ROW("job", model, "model", OPT_STRING, "NAME", 0, 0, NULL, NULL, NULL,
        "linear, logistic, softmax; free: tensors that clients of libdp declare (required)"),
    ROW("job", features, "features", OPT_U64, "N", 0, 0x1p35, "0", NULL, NULL,
        "columns of the data; 0: as many as the data have"),
    ROW("job", hash_bits, "hash-bits", OPT_U64, "N", 0, 31, "0", NULL, NULL,
        "hash the features of LIBSVM data, any 64-bit numbers, to 2^N columns; 0: not"),
    ROW("job", sparse, "sparse", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "keep the weights in a table, of which a worker moves only rows that its data touch"),
    ROW("job", classes, "classes", OPT_U64, "C", 0, 65536, "0", NULL, NULL,
        "softmax: how many different labels the data have; 0: as many as they have"),
    ROW("job", label_names, "label-names", OPT_STRING, "A,B,...", 0, 0, NULL, NULL, NULL,
        "logistic, softmax: the labels, numbers or words, also those that no row has; else those of the data"),
    ROW("job", intercept, "intercept", OPT_SWITCH, NULL, 0, 0, "on", NULL, NULL,
        "a bias that is learnt and not regularized"),
    ROW("job", batch, "batch", OPT_U64, "B", 1, 1e15, "1024", "rows", NULL,
        "global minibatch, whatever the number of workers"),
    ROW("job", slots, "slots", OPT_U64, "K", 1, STEPS_SLOTS_MAX, "8", NULL, NULL,
        "shares of a minibatch, the unit of work; part of the result's bits"),
    ROW("job", epochs, "epochs", OPT_U64, "E", 1, 1e12, "10", NULL, NULL, "passes over the data"),
    ROW("job", steps, "steps", OPT_U64, "T", 1, 1e15, NULL, NULL, NULL, "training steps instead of epochs"),
    ROW("job", seed, "seed", OPT_U64, "S", 0, 0x1p64, "1", NULL, NULL,
        "of initial parameters and the order of the data"),
    ROW("job", init_from, "init-from", OPT_STRING, "MODEL|CHECKPOINT", 0, 0, NULL, NULL, NULL,
        "begins with the parameters of a model, a checkpoint's folder, or the newest of a --checkpoint-dir, by the "
        "names of tensors; a job that goes on from its own checkpoint does not read it"),
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
        "address for workers; port 0 takes a free one; ipc://PATH or ipc://@NAME is a socket of this machine"),
    ROW("server", advertise, "advertise", OPT_STRING, "HOST", 0, 0, NULL, NULL, NULL,
        "host that workers reach the shards by; else that by which they came"),
    ROW("server", ports, "ports", OPT_STRING, "A-B", 0, 0, NULL, NULL, NULL,
        "shards take ports of this range only, in order, for firewalls; else free ones. With one shard, all use the "
        "port of --listen"),
    ROW("server", port_file, "port-file", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL,
        "the chosen endpoint is written here"),
    ROW("server", shards, "shards", OPT_U64, "N", 1, 64, "1", NULL, NULL,
        "threads that the parameters are spread over; see --min-shard-kib"),
    ROW("server", min_shard_kib, "min-shard-kib", OPT_U64, "KIB", 0, 1 << 30, "256", "KiB", NULL,
        "least of the dense parameters that a shard is given; small models use fewer of --shards; 0: always all of "
        "them"),
    ROW("server", local_workers, "local-workers", OPT_U64, "N", 0, 1024, "0", NULL, NULL,
        "starts N dp-worker processes here and looks after them"),
    ROW("server", exit_when_done, "exit-when-done", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "end when the job is done"),
    ROW("server", export_path, "export", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL,
        "writes the model as safetensors at the end; one that is not finished does not replace one that is, but goes "
        "to FILE.stopped or FILE.diverged"),
    ROW("server", export_timeout_s, "export-timeout", OPT_U64, "S", 0, 86400 * 365, "600", "s", NULL,
        "if the model cannot be written, try again this long, while dp-ctl export can fetch it; 0: do not"),
    ROW("server", insecure, "insecure", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "listen beyond loopback without encryption or authentication"),
    ROW("server", insecure_admin, "insecure-admin", OPT_FLAG, NULL, 0, 0, "off", NULL, NULL,
        "with --insecure: everybody who reaches the server may also change the job and fetch its model (dp-ctl set, "
        "export, checkpoint)"),
    ROW("server", allow_users, "allow-users", OPT_STRING, "all|NAME,...", 0, 0, NULL, NULL, NULL,
        "on loopback and ipc: further users of this host, by name or uid, who may join, and change the job; others may "
        "only see its status"),
    ROW("server", secret_file, "secret-file", OPT_STRING, "FILE", 0, 0, NULL, NULL, NULL,
        "file by which programs of this user know each other, made if it is not there; else ~/.config/dp/secret"),
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
        "then: give what is owed to another worker too and wait on (of local data: go on without the worker), end the "
        "job, or leave it out of the step, which "
        "changes the result"),
    ROW("workers", drop_slowest, "drop-slowest", OPT_U64, "B", 0, STEPS_SLOTS_MAX - 1, "0", NULL, NULL,
        "bsp: once all but B slots of a training step are there, it is committed without these, which changes the "
        "result; 0: none are dropped"),
    ROW("workers", balance, "balance", OPT_CHOICE, "HOW", 0, 0, "speed", NULL, "off|speed",
        "slots that a worker gets: equal shares, or by its measured speed"),
    ROW("workers", speculate, "speculate", OPT_CHOICE, "WHEN", 0, 0, "auto", NULL, "off|auto",
        "auto: late slots are also given to idle workers; the first result counts"),

    CHECKPOINT_OPTION_ROWS(struct server_options, checkpoints),

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
              "checkpoints: what a server that is started again goes on from\n"
              "workers: who may come, who computes what\n"
              "data: handed to --local-workers\n"
              "output: what is shown\n",
    .footer =
        "  dp-server --model logistic --local-workers 2 --data train.libsvm --exit-when-done --export m.safetensors\n"
        "  dp-server --model softmax --listen tcp://0.0.0.0:7700 --insecure\n",
    .pages = server_pages,
    .page_count = SERVER_PAGES,
    .list = ROWS,
    .count = sizeof ROWS / sizeof ROWS[0],
};
