/* A sparse logistic job on hashed features: what a touched weight costs on the wire, and what a step costs as the table
 * grows while the rows that are touched stay as many.
 *
 *   bench_sparse_job [--bits 18,20,22,24] [--words 100000] [--steps 400] [--rounds 3]
 *
 * The data are made up: rows of 64 of the words, which are random 64-bit numbers. One worker, one shard, sgd,
 * minibatches of 1024 rows. Bytes are those that the shard's counters say, by socket and in shared memory, headers
 * included; a weight counts once for each step that touches it. The time of a step is what a job of a quarter more
 * steps takes less one of that quarter alone, divided by the steps: without the start, in which memory is still being
 * faulted in, as a larger table's takes longer; the start has a column of its own. The ratio is of a touched weight's
 * time to that in the smallest table, as a few words share a weight there. Thread: main. */
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/options.h"
#include "common/tensor/plan.h"
#include "worker/ctl/ask_status.h"
#include "worker/data/data.h"

enum { DATA_ROWS = 1 << 14, ROW_WORDS = 64, BATCH = 1024, SEED = 1, SLOTS = 8 };

struct bench_options {
    const char *bits;
    uint64_t words, steps, rounds;
};

#define ROW(field, name, type, min, max, dflt, help)                                                      \
    {                                                                                                     \
        "bench", name, type, offsetof(struct bench_options, field), "X", min, max, dflt, NULL, NULL, help \
    }

static const struct option OPTIONS[] = {
    ROW(bits, "bits", OPT_STRING, 0, 0, "18,20,22,24", "list of --hash-bits"),
    ROW(words, "words", OPT_U64, 1, 1e9, "100000", "different features"),
    ROW(steps, "steps", OPT_U64, 1, 1e6, "400", "of a run"),
    ROW(rounds, "rounds", OPT_U64, 1, 1000, "3", "runs of each; the fastest counts"),
};

static const struct option_table TABLE = {
    .program = "bench_sparse_job",
    .summary = "a sparse job on hashed features",
    .usage = "  bench_sparse_job [options]\n",
    .topics = "bench: what is measured\n",
    .list = OPTIONS,
    .count = ARRAY_LEN(OPTIONS),
};

struct bench {
    const struct bench_options *opts;
    char server[4096];
    char folder[64];
    char data[96];
    char endpoint[128];
};

/* The figures of one run. */
struct result {
    double seconds;
    double bytes_in, bytes_out;
};

/* splitmix64, for words and which of them a row has. */
static uint64_t mix(uint64_t z)
{
    z += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static bool data_make(const struct bench *bench)
{
    FILE *file = fopen(bench->data, "w");
    if (!file)
        return false;
    for (uint64_t r = 0; r < DATA_ROWS; r++) {
        fprintf(file, "%d", (int)(mix(r) & 1));
        for (uint64_t k = 0; k < ROW_WORDS; k++)
            fprintf(file, " %" PRIu64 ":0.125", mix(~(mix(r * ROW_WORDS + k) % bench->opts->words)));
        fputc('\n', file);
    }
    return fclose(file) == 0;
}

/* Columns that the steps touch, each step's counted by itself. */
static double touched_count(const struct bench *bench, uint32_t bits, uint64_t steps)
{
    const struct data_source source = {.path = bench->data, .hash_bits = bits, .hash_seed = SEED};
    const struct plan plan = {
        .seed = SEED, .train_rows = DATA_ROWS, .batch = BATCH, .train_steps = steps, .slots = SLOTS};
    struct data data;
    dp_error err;
    if (data_read(&source, &data, &err)) {
        fprintf(stderr, "bench_sparse_job: %s\n", err.text);
        return -1;
    }
    uint64_t rows[BATCH], touched = 0, *seen = mem_array_zero((size_t)data.features, sizeof *seen);
    for (uint64_t step = 0; seen && step < plan.train_steps; step++) {
        const struct plan_step at = plan_at(&plan, step);
        plan_rows(&plan, &at, 0, at.rows, rows);
        for (uint64_t i = 0; i < at.rows; i++)
            for (uint64_t e = data.row_at[rows[i]]; e < data.row_at[rows[i] + 1]; e++) {
                touched += seen[data.columns[e]] != step + 1;
                seen[data.columns[e]] = step + 1;
            }
    }
    free(seen);
    data_fini(&data);
    return (double)touched;
}

static void server_exec(const struct bench *bench, uint32_t bits, uint64_t step_count)
{
    char hash_bits[16], steps[24], batch[16], seed[16], slots[16];
    snprintf(hash_bits, sizeof hash_bits, "%u", bits);
    snprintf(steps, sizeof steps, "%" PRIu64, step_count);
    snprintf(batch, sizeof batch, "%d", BATCH);
    snprintf(seed, sizeof seed, "%d", SEED);
    snprintf(slots, sizeof slots, "%d", SLOTS);
    execl(bench->server, bench->server, "--listen", bench->endpoint, "--model", "logistic", "--sparse", "--hash-bits",
          hash_bits, "--batch", batch, "--steps", steps, "--seed", seed, "--slots", slots, "--lr", "0.1",
          "--local-workers", "1", "--data", bench->data, "--json", (char *)NULL);
    perror(bench->server);
    _exit(127);
}

/* The seconds that the server says the job took. */
static double seconds_read(FILE *out)
{
    char line[8192];
    double seconds = -1;
    while (seconds < 0 && fgets(line, sizeof line, out)) {
        json_t *object = json_loads(line, 0, NULL);
        const char *event = json_string_value(json_object_get(object, "event"));
        if (event && strcmp(event, "done") == 0)
            seconds = json_number_value(json_object_get(object, "elapsed_s"));
        json_decref(object);
    }
    return seconds;
}

static double bytes_counted(const json_t *shard, const char *by_socket, const char *shared)
{
    return json_number_value(json_object_get(shard, by_socket)) + json_number_value(json_object_get(shard, shared));
}

static bool counters_read(const struct bench *bench, struct result *result)
{
    json_t *status;
    dp_error err;
    struct ctl_connection connection = {.server = bench->endpoint, .timeout_ms = 5000};
    dp_err e = ctl_ask_status(&connection, &status, &err);
    ctl_connection_close(&connection);
    if (e) {
        fprintf(stderr, "bench_sparse_job: %s\n", err.text);
        return false;
    }
    const json_t *shard = json_array_get(json_object_get(status, "shards"), 0);
    result->bytes_in = bytes_counted(shard, "bytes_in", "shm_bytes_in");
    result->bytes_out = bytes_counted(shard, "bytes_out", "shm_bytes_out");
    json_decref(status);
    return true;
}

static bool run(const struct bench *bench, uint32_t bits, uint64_t steps, struct result *result)
{
    int out[2];
    if (pipe2(out, O_CLOEXEC))
        return false;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left behind */
        dup2(out[1], STDOUT_FILENO);
        server_exec(bench, bits, steps);
    }
    close(out[1]);
    FILE *file = fdopen(out[0], "r");
    result->seconds = file && pid > 0 ? seconds_read(file) : -1;
    bool good = result->seconds > 0 && counters_read(bench, result);
    if (pid > 0) {
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
    }
    if (file)
        fclose(file);
    return good;
}

static void run_best(const struct bench *bench, uint32_t bits, uint64_t steps, struct result *best)
{
    struct result result;
    if (run(bench, bits, steps, &result) && (best->seconds < 0 || result.seconds < best->seconds))
        *best = result;
}

/* `first` is the time of a touched weight with the fewest bits, 0 before. */
static bool measure(const struct bench *bench, uint32_t bits, double *first)
{
    const uint64_t steps = bench->opts->steps, start = steps / 4 + 1;
    struct result whole = {.seconds = -1}, begun = {.seconds = -1};
    for (uint64_t round = 0; round < bench->opts->rounds; round++) {
        run_best(bench, bits, start, &begun);
        run_best(bench, bits, start + steps, &whole);
    }
    const double touched = touched_count(bench, bits, start + steps);
    if (begun.seconds < 0 || whole.seconds <= begun.seconds || touched < 0) {
        printf("%4u  failed\n", bits);
        return false;
    }
    const double step_us = (whole.seconds - begun.seconds) / (double)steps * 1e6;
    const double step_touched = touched / (double)(start + steps), weight_us = step_us / step_touched;
    *first = *first > 0 ? *first : weight_us;
    printf("%4u %12.0f %10.1f %8.2f %10.0f %10.2f %10.2f\n", bits, step_touched, step_us, weight_us / *first,
           begun.seconds * 1e3 - (double)start * step_us / 1e3, whole.bytes_in / touched, whole.bytes_out / touched);
    fflush(stdout);
    return true;
}

static bool bench_init(struct bench *bench, const struct bench_options *opts, const char *self)
{
    const char *slash = strrchr(self, '/');
    *bench = (struct bench){.opts = opts};
    snprintf(bench->server, sizeof bench->server, "%.*s../../server/dp-server", slash ? (int)(slash - self) + 1 : 0,
             self);
    (void)str_copy(bench->folder, sizeof bench->folder, "/tmp/dp-sparse-XXXXXX");
    if (!mkdtemp(bench->folder))
        return false;
    snprintf(bench->data, sizeof bench->data, "%s/data", bench->folder);
    snprintf(bench->endpoint, sizeof bench->endpoint, "ipc://%s/head", bench->folder);
    return data_make(bench);
}

static void bench_fini(const struct bench *bench)
{
    unlink(bench->data);
    rmdir(bench->folder);
}

int main(int argc, char **argv)
{
    struct options given;
    struct bench_options opts = {0};
    enum option_outcome outcome;
    struct bench bench;
    dp_error err;
    if (options_parse(&given, &TABLE, &opts, argc, argv, &outcome, &err)) {
        fprintf(stderr, "bench_sparse_job: %s\n", err.text);
        return 2;
    }
    bool good = true;
    if (outcome == OPT_RUN) {
        double first = 0;
        good = bench_init(&bench, &opts, argv[0]);
        printf("%4s %12s %10s %8s %10s %10s %10s\n", "bits", "touched/step", "us/step", "ratio", "start ms", "B up",
               "B down");
        for (const char *at = opts.bits; good && at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
            good = measure(&bench, (uint32_t)strtoul(at, NULL, 10), &first);
        bench_fini(&bench);
    }
    options_fini(&given);
    return good ? 0 : 1;
}
