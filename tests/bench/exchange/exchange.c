/* The cost of a step of the data plane, against the same bytes by ZeroMQ alone and by memory alone, in one run of
 * twelve minutes: dense tensors, rows of tables, many small connections.
 *
 *   bench_exchange [--quick] [--transports tcp,ipc,shm] [--workers 1,2,4] [--shards 1,2]
 *                  [--elems 1000,100000,10000000] [--dims 1,16] [--clients 64]
 *                  [--rounds 3] [--seconds 1] [--slice-mib 2]
 *
 * Server and workers are processes. A case's transports run bare and ours in turn, `rounds` times; the best of each is
 * compared. cpu: the processor time of all processes, their start included, which a busy machine disturbs less than the
 * clock. The columns are in table.c, with the bounds of what was asked for. Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/util.h"
#include "common/options/options.h"
#include "tests/bench/exchange/bench.h"

struct bench_options {
    bool quick;
    const char *transports, *workers, *shards, *elems, *dims;
    uint64_t clients, rounds, slice_mib;
    double seconds;
};

#define ROW(field, name, type, min, max, dflt, help)                                                      \
    {                                                                                                     \
        "bench", name, type, offsetof(struct bench_options, field), "X", min, max, dflt, NULL, NULL, help \
    }

static const struct option ROWS[] = {
    ROW(quick, "quick", OPT_FLAG, 0, 0, NULL, "2 workers, 1 shard, 1 round, unless given: a minute"),
    ROW(transports, "transports", OPT_STRING, 0, 0, "tcp,ipc,shm", "list of tcp, ipc, shm"),
    ROW(workers, "workers", OPT_STRING, 0, 0, "1,2,4", "list of numbers of workers"),
    ROW(shards, "shards", OPT_STRING, 0, 0, "1,2", "list of numbers of shards"),
    ROW(elems, "elems", OPT_STRING, 0, 0, "1000,100000,10000000", "list of numbers of floats; 0: no dense tensors"),
    ROW(dims, "dims", OPT_STRING, 0, 0, "1,16", "list of floats of a row; 0: no tables"),
    ROW(clients, "clients", OPT_U64, 0, EXCHANGE_CLIENTS_MAX, "64", "connections of 1000 floats; 0: none"),
    ROW(rounds, "rounds", OPT_U64, 1, 1000, "3", "runs of each; the best counts"),
    ROW(seconds, "seconds", OPT_F64, 0.01, 600, "1", "about so long per run"),
    ROW(slice_mib, "slice-mib", OPT_U64, 1, 1024, "2", "slices of the bare exchange"),
};

static const struct option_table TABLE = {
    .program = "bench_exchange",
    .summary = "the data plane against its limits",
    .usage = "  bench_exchange [options]\n",
    .topics = "bench: what is measured\n",
    .list = ROWS,
    .count = ARRAY_LEN(ROWS),
};

struct bench {
    struct bench_options opts;
    struct places places;
    double memory_rate;
    struct table table;
};

/* Steps that take about so long, guessed from 60 us a message, 2 GB/s, and 50 million rows a second. */
static uint32_t steps_for(const struct exchange *x, double seconds)
{
    double guess = 60e-6 + 8.0 * (double)x->elems / 2e9;
    if (x->dim > 0)
        guess += 2.0 * (double)x->elems / x->dim / 50e6;
    return (uint32_t)MAX(20.0, MIN(seconds / (guess * x->workers), 20000.0));
}

/* Processor time of all children that have ended. */
static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_CHILDREN, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static void best_add(struct best *best, double seconds, double cpu)
{
    if (seconds < 0)
        return;
    best->seconds = best->seconds < 0 ? seconds : MIN(best->seconds, seconds);
    best->cpu_seconds = best->cpu_seconds < 0 ? cpu : MIN(best->cpu_seconds, cpu);
}

/* One run of a case over a transport, bare and ours. */
static void run_once(const struct bench *bench, const struct exchange *x, struct best *bare, struct best *dp)
{
    double before = cpu_seconds(), seconds;
    if (x->transport != TRANSPORT_SHM) {
        seconds = bare_run(x);
        best_add(bare, seconds, cpu_seconds() - before);
    }
    before = cpu_seconds();
    seconds = dp_run(x, &bench->places);
    best_add(dp, seconds, cpu_seconds() - before);
}

static bool wanted(const struct bench *bench, enum transport transport)
{
    return strstr(bench->opts.transports, TRANSPORT_NAMES[transport]) != NULL;
}

/* A case over all transports: these take turns, so that each is compared with what ran beside it. */
static void run_case(struct bench *bench, struct exchange x, void (*row)(struct table *, const struct measured *))
{
    struct best bare[TRANSPORTS], dp[TRANSPORTS];
    for (int t = 0; t < TRANSPORTS; t++)
        bare[t] = dp[t] = (struct best){-1, -1};
    x.slice_bytes = bench->opts.slice_mib << 20;
    x.steps = steps_for(&x, bench->opts.seconds);
    x.skip = x.steps / 4 + 6; /* memory is still being faulted in */
    for (uint64_t round = 0; round < bench->opts.rounds; round++)
        for (x.transport = TRANSPORT_TCP; x.transport < TRANSPORTS; x.transport++)
            if (wanted(bench, x.transport))
                run_once(bench, &x, &bare[x.transport], &dp[x.transport]);
            else if (x.transport == TRANSPORT_TCP) /* shm is compared with it */
                best_add(&bare[x.transport], bare_run(&x), 1);
    bare[TRANSPORT_SHM] = bare[TRANSPORT_TCP];
    for (x.transport = TRANSPORT_TCP; x.transport < TRANSPORTS; x.transport++)
        if (wanted(bench, x.transport))
            row(&bench->table, &(struct measured){x, dp[x.transport], bare[x.transport], dp[TRANSPORT_TCP].seconds,
                                                  bench->memory_rate});
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

/* A case for each number of workers and of shards. */
static void run_counts(struct bench *bench, struct exchange x, void (*row)(struct table *, const struct measured *))
{
    for (uint32_t w = 0; (x.workers = (uint32_t)list_at(bench->opts.workers, w)) > 0; w++)
        for (uint32_t s = 0; (x.shards = (uint32_t)list_at(bench->opts.shards, s)) > 0; s++)
            if (x.workers <= EXCHANGE_WORKERS_MAX && x.shards <= EXCHANGE_SHARDS_MAX)
                run_case(bench, x, row);
}

static void run_dense(struct bench *bench)
{
    struct exchange x = {0};
    if (list_at(bench->opts.elems, 0) > 0)
        table_dense_head();
    for (uint32_t i = 0; (x.elems = list_at(bench->opts.elems, i)) > 0; i++)
        run_counts(bench, x, table_dense_row);
}

static void run_rows(struct bench *bench)
{
    struct exchange x = {0};
    if (list_at(bench->opts.dims, 0) > 0)
        table_rows_head();
    for (uint32_t i = 0; (x.dim = (uint32_t)list_at(bench->opts.dims, i)) > 0; i++) {
        x.elems = (uint64_t)EXCHANGE_ROWS * x.dim;
        if (x.dim <= EXCHANGE_DIM_MAX)
            run_counts(bench, x, table_rows_row);
    }
}

static void run_clients(struct bench *bench)
{
    struct exchange x = {.elems = 1000, .workers = (uint32_t)bench->opts.clients, .shards = 1};
    struct measured m = {.dp = {-1, -1}, .bare = {-1, -1}};
    if (x.workers == 0)
        return;
    x.steps = (uint32_t)MAX(20.0, bench->opts.seconds * 50000 / x.workers);
    x.skip = x.steps / 4;
    m.x = x;
    for (uint64_t round = 0; round < bench->opts.rounds; round++) {
        best_add(&m.bare, clients_bare(&x), 1);
        best_add(&m.dp, clients_dp(&x, bench->places.server), 1);
    }
    table_clients(&bench->table, &m);
}

/* Cases that --quick leaves out unless they were asked for. */
static void be_quick(const struct options *given, struct bench_options *opts)
{
    if (options_source(given, "workers") == OPT_FROM_DEFAULT)
        opts->workers = "2";
    if (options_source(given, "shards") == OPT_FROM_DEFAULT)
        opts->shards = "1";
    if (options_source(given, "rounds") == OPT_FROM_DEFAULT)
        opts->rounds = 1;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    struct options given;
    enum option_outcome outcome;
    dp_error err;
    if (options_parse(&given, &TABLE, &bench.opts, argc, argv, &outcome, &err)) {
        fprintf(stderr, "bench_exchange: %s\n", err.text);
        return 2;
    }
    if (outcome == OPT_RUN) {
        if (bench.opts.quick)
            be_quick(&given, &bench.opts);
        places_find(argv[0], &bench.places);
        bench.memory_rate = memory_rate();
        printf("memory: triad %.1f GB/s, one thread\n", bench.memory_rate / 1e9);
        run_dense(&bench);
        run_rows(&bench);
        run_clients(&bench);
        table_end(&bench.table);
    }
    options_fini(&given);
    return bench.table.failed > 0 ? 1 : 0;
}
