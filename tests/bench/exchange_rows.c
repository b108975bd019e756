/* What a step of a table costs: each worker pushes and pulls 1e5 sorted random rows of 1e6, the same ones in every
 * step, so that their ids are named and not sent.
 *
 *   bench_exchange_rows [--transports tcp,ipc,shm] [--workers 1,2] [--shards 1,2] [--dims 1,16] [--rounds 3] [--seconds
 * 1]
 *
 * Server and workers are processes, sgd is the rule. The best of the rounds counts. Columns: us of a step; rows pushed
 * and pulled by all workers a second, in millions; GB/s of their values. Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exchange_bench.h"
#include "exchange_rows.h"
#include "options.h"
#include "util.h"

struct bench_options {
    const char *transports, *workers, *shards, *dims;
    uint64_t rounds;
    double seconds;
};

#define ROW(field, name, type, min, max, dflt, help)                                                      \
    {                                                                                                     \
        "bench", name, type, offsetof(struct bench_options, field), "X", min, max, dflt, NULL, NULL, help \
    }

static const struct option OPTIONS[] = {
    ROW(transports, "transports", OPT_STRING, 0, 0, "tcp,ipc", "list of tcp, ipc, shm"),
    ROW(workers, "workers", OPT_STRING, 0, 0, "1,2", "list of numbers of workers"),
    ROW(shards, "shards", OPT_STRING, 0, 0, "1,2", "list of numbers of shards"),
    ROW(dims, "dims", OPT_STRING, 0, 0, "1,16", "list of floats of a row"),
    ROW(rounds, "rounds", OPT_U64, 1, 1000, "3", "runs of each; the best counts"),
    ROW(seconds, "seconds", OPT_F64, 0.01, 600, "1", "about so long per run"),
};

static const struct option_table TABLE = {
    .program = "bench_exchange_rows",
    .summary = "what a step of a table costs",
    .usage = "  bench_exchange_rows [options]\n",
    .topics = "bench: what is measured\n",
    .list = OPTIONS,
    .count = ARRAY_LEN(OPTIONS),
};

struct places {
    char server[4096], worker[4096];
};

/* exchange_dp.c hands `elems` to the worker, whose rows have so many floats. */
static bool measure(struct exchange x, const struct bench_options *opts, const struct places *places)
{
    double best = -1, moved = 2.0 * ROWS * x.workers;
    x.steps = (uint32_t)MAX(20.0, opts->seconds / (moved * (double)(4 + x.elems) * 5e-9));
    x.skip = x.steps / 4 + 3;
    for (uint64_t round = 0; round < opts->rounds; round++) {
        double seconds = dp_run(&x, places->server, places->worker);
        best = seconds > 0 && (best < 0 || seconds < best) ? seconds : best;
    }
    printf("%-5s %5llu %7u %6u", x.transport, (unsigned long long)x.elems, x.workers, x.shards);
    if (best < 0)
        printf("  failed\n");
    else
        printf(" %11.1f %10.1f %7.2f\n", best * 1e6, moved / best / 1e6,
               moved * (double)x.elems * sizeof(float) / best / 1e9);
    fflush(stdout);
    return best > 0;
}

/* Number i of a list, 0 behind its end. */
static uint64_t list_at(const char *list, uint32_t i)
{
    for (; i > 0 && list; i--) {
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return list ? strtoull(list, NULL, 10) : 0;
}

static bool run_transport(const char *transport, const struct bench_options *opts, const struct places *places)
{
    struct exchange x = {.transport = transport};
    bool good = true;
    for (uint32_t d = 0; (x.elems = list_at(opts->dims, d)) > 0; d++)
        for (uint32_t w = 0; (x.workers = (uint32_t)list_at(opts->workers, w)) > 0; w++)
            for (uint32_t s = 0; (x.shards = (uint32_t)list_at(opts->shards, s)) > 0; s++)
                good = x.workers <= EXCHANGE_WORKERS_MAX && x.shards <= EXCHANGE_SHARDS_MAX &&
                       measure(x, opts, places) && good;
    return good;
}

int main(int argc, char **argv)
{
    static const char *const TRANSPORTS[] = {"tcp", "ipc", "shm"};
    struct options given;
    struct bench_options opts = {0};
    enum option_outcome outcome;
    struct places places;
    dp_error err;
    if (options_parse(&given, &TABLE, &opts, argc, argv, &outcome, &err)) {
        fprintf(stderr, "bench_exchange_rows: %s\n", err.text);
        return 2;
    }
    bool good = true;
    if (outcome == OPT_RUN) {
        const char *slash = strrchr(argv[0], '/');
        int n = slash ? (int)(slash - argv[0]) + 1 : 0;
        snprintf(places.worker, sizeof places.worker, "%.*sbench_exchange_rows_worker", n, argv[0]);
        snprintf(places.server, sizeof places.server, "%.*s../../server/dp-server", n, argv[0]);
        printf("%-5s %5s %7s %6s %11s %10s %7s\n", "plane", "dim", "workers", "shards", "us", "Mrows/s", "GB/s");
        for (size_t i = 0; i < ARRAY_LEN(TRANSPORTS); i++)
            if (strstr(opts.transports, TRANSPORTS[i]))
                good = run_transport(TRANSPORTS[i], &opts, &places) && good;
    }
    options_fini(&given);
    return good ? 0 : 1;
}
