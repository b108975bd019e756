/* What a step of the data plane costs, against the same bytes by ZeroMQ alone and by memory alone, in one run.
 *
 *   bench_exchange [--transports tcp,ipc,shm] [--workers 1,2,4] [--shards 1,2] [--elems 1000,100000,10000000]
 *                  [--rounds 3] [--seconds 1.0] [--slice-mib 2]
 *
 * Server and workers are processes. Each case runs bare and ours in turn, `rounds` times; the best of each is compared.
 * Columns: dp, bare: microseconds of a step; dp/bare: the price of the product; GB/s: pushed and pulled by all workers;
 * cpu: the same ratio of the processor time of all processes, their start included, which a busy machine disturbs less;
 * memory/dp: the time that the bytes which must be touched (each gradient and theta read, theta' written) take at this
 * machine's triad rate, as a share of ours. shm is compared with bare tcp. Thread: main. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "exchange_bench.h"
#include "options.h"
#include "util.h"

struct bench_options {
    const char *transports, *workers, *shards, *elems;
    uint64_t rounds, slice_mib;
    double seconds;
};

#define ROW(field, name, type, min, max, dflt, help)                                                      \
    {                                                                                                     \
        "bench", name, type, offsetof(struct bench_options, field), "X", min, max, dflt, NULL, NULL, help \
    }

static const struct option ROWS[] = {
    ROW(transports, "transports", OPT_STRING, 0, 0, "tcp,ipc,shm", "list of tcp, ipc, shm"),
    ROW(workers, "workers", OPT_STRING, 0, 0, "1,2,4", "list of numbers of workers"),
    ROW(shards, "shards", OPT_STRING, 0, 0, "1,2", "list of numbers of shards"),
    ROW(elems, "elems", OPT_STRING, 0, 0, "1000,100000,10000000", "list of numbers of floats"),
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

struct places {
    char server[4096], worker[4096];
};

/* Steps that take about so long, guessed from 50 us a message and 2 GB/s. */
static uint32_t steps_for(const struct exchange *x, double seconds)
{
    double guess = 60e-6 * x->workers + 8.0 * (double)x->elems * x->workers / 2e9;
    double steps = seconds / guess;
    return (uint32_t)MAX(5.0, MIN(steps, 20000.0));
}

/* Of all children that have ended. */
static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_CHILDREN, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

/* The best of some runs. */
struct best {
    double seconds, cpu_seconds; /* negative: none */
};

static void best_add(struct best *best, double seconds, double cpu)
{
    if (seconds < 0)
        return;
    best->seconds = best->seconds < 0 ? seconds : MIN(best->seconds, seconds);
    best->cpu_seconds = best->cpu_seconds < 0 ? cpu : MIN(best->cpu_seconds, cpu);
}

static void report(const struct exchange *x, const struct best *ours, const struct best *zmq, double rate)
{
    double dp = ours->seconds, bare = zmq->seconds;
    double bytes = 8.0 * (double)x->elems * x->workers;
    double touched = 4.0 * (double)x->elems * (x->workers + 2);
    printf("%-5s %9llu %7u %6u", x->transport, (unsigned long long)x->elems, x->workers, x->shards);
    if (dp < 0 || bare < 0)
        printf("  failed%s%s\n", dp < 0 ? " dp" : "", bare < 0 ? " bare" : "");
    else
        printf(" %11.1f %11.1f %8.2f %6.2f %7.2f %10.2f\n", dp * 1e6, bare * 1e6, dp / bare,
               ours->cpu_seconds / zmq->cpu_seconds, bytes / dp / 1e9, touched / rate / dp);
    fflush(stdout);
}

static bool measure(struct exchange x, const struct bench_options *opts, const struct places *places, double rate)
{
    struct best dp = {-1, -1}, bare = {-1, -1};
    x.steps = steps_for(&x, opts->seconds);
    x.skip = x.steps / 4 + 3;
    for (uint64_t round = 0; round < opts->rounds; round++) {
        double before = cpu_seconds(), seconds = bare_run(&x), between = cpu_seconds();
        best_add(&bare, seconds, between - before);
        seconds = dp_run(&x, places->server, places->worker);
        best_add(&dp, seconds, cpu_seconds() - between);
    }
    report(&x, &dp, &bare, rate);
    return dp.seconds >= 0 && bare.seconds >= 0;
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

static bool run_transport(const char *transport, const struct bench_options *opts, const struct places *places,
                          double rate)
{
    struct exchange x = {.transport = transport, .slice_bytes = opts->slice_mib << 20};
    bool good = true;
    for (uint32_t e = 0; (x.elems = list_at(opts->elems, e)) > 0; e++)
        for (uint32_t w = 0; (x.workers = (uint32_t)list_at(opts->workers, w)) > 0; w++)
            for (uint32_t s = 0; (x.shards = (uint32_t)list_at(opts->shards, s)) > 0; s++)
                good = x.workers <= EXCHANGE_WORKERS_MAX && x.shards <= EXCHANGE_SHARDS_MAX &&
                       measure(x, opts, places, rate) && good;
    return good;
}

/* The programs of the same build. */
static void find_programs(const char *self, struct places *places)
{
    const char *slash = strrchr(self, '/');
    int n = slash ? (int)(slash - self) + 1 : 0;
    snprintf(places->worker, sizeof places->worker, "%.*sbench_exchange_worker", n, self);
    snprintf(places->server, sizeof places->server, "%.*s../../server/dp-server", n, self);
}

int main(int argc, char **argv)
{
    struct options given;
    struct bench_options opts = {0};
    enum option_outcome outcome;
    struct places places;
    dp_error err;
    if (options_parse(&given, &TABLE, &opts, argc, argv, &outcome, &err)) {
        fprintf(stderr, "bench_exchange: %s\n", err.text);
        return 2;
    }
    bool good = true;
    if (outcome == OPT_RUN) {
        static const char *const TRANSPORTS[] = {"tcp", "ipc", "shm"};
        double rate = memory_rate();
        find_programs(argv[0], &places);
        printf("memory: triad %.1f GB/s, one thread\n", rate / 1e9);
        printf("%-5s %9s %7s %6s %11s %11s %8s %6s %7s %10s\n", "plane", "floats", "workers", "shards", "dp us",
               "bare us", "dp/bare", "cpu", "GB/s", "memory/dp");
        for (size_t i = 0; i < ARRAY_LEN(TRANSPORTS); i++)
            if (strstr(opts.transports, TRANSPORTS[i]))
                good = run_transport(TRANSPORTS[i], &opts, &places, rate) && good;
    }
    options_fini(&given);
    return good ? 0 : 1;
}
