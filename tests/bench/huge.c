/* A tensor of more than 2 GiB: three steps of sgd by one worker with one slot, and the memory that all of it takes.
 *
 *   bench_huge [--transports tcp,shm] [--floats 600000000] [--limit-gib 16]
 *
 * Memory is the proportional share (PSS) of server and worker, added up: what they share counts once. It is looked at
 * ten times a second; the largest sum is compared with the limit. Memory of the kernel for messages under way is not
 * in it. With less than the limit free, it runs nothing and says so. Thread: main. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "common/options/options.h"
#include "tests/bench/exchange/bench.h"

enum { STEPS = 3, LOOK_MS = 100 };
static const double GIB = 1024.0 * 1024.0 * 1024.0;

struct bench_options {
    const char *transports;
    uint64_t floats;
    double limit_gib;
};

#define ROW(field, name, type, min, max, dflt, help)                                                      \
    {                                                                                                     \
        "bench", name, type, offsetof(struct bench_options, field), "X", min, max, dflt, NULL, NULL, help \
    }

static const struct option ROWS[] = {
    ROW(transports, "transports", OPT_STRING, 0, 0, "tcp,shm", "list of tcp, ipc, shm"),
    ROW(floats, "floats", OPT_U64, 1, 1e10, "600000000", "of the tensor"),
    ROW(limit_gib, "limit-gib", OPT_F64, 0.01, 1e6, "16", "that all processes may take"),
};

static const struct option_table TABLE = {
    .program = "bench_huge",
    .summary = "a tensor of more than 2 GiB",
    .usage = "  bench_huge [options]\n",
    .topics = "bench: what is measured\n",
    .list = ROWS,
    .count = ARRAY_LEN(ROWS),
};

/* The number behind `name` in a file of lines "name: NUMBER kB", in GiB; negative: none. */
static double kib_line(const char *path, const char *name)
{
    char line[256];
    double gib = -1;
    FILE *file = fopen(path, "r");
    while (file && gib < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            gib = strtod(line + strlen(name) + 1, NULL) * 1024 / GIB;
    if (file)
        fclose(file);
    return gib;
}

/* 0 once it has ended. */
static double share_gib(long pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pid);
    return MAX(0.0, kib_line(path, "Pss"));
}

struct peak {
    double all, server, worker; /* of the moment at which all was largest */
};

/* Looks until the worker reports, or ends. */
static struct peak watch(long server, long worker, int report)
{
    struct pollfd done = {.fd = report, .events = POLLIN};
    struct peak peak = {0};
    while (poll(&done, 1, LOOK_MS) == 0) {
        struct peak now = {0, share_gib(server), share_gib(worker)};
        now.all = now.server + now.worker;
        if (now.all > peak.all)
            peak = now;
    }
    return peak;
}

static bool run(struct exchange x, const struct bench_options *opts, const struct places *places)
{
    struct served job;
    struct crew crew;
    struct peak peak = {0};
    double seconds = -1;
    if (!crew_init(&crew))
        return false;
    if (served_start(&job, &x, places->server) && workers_start(&crew, &job, &x, places)) {
        peak = watch(job.server, crew.pids[0], crew.outs[0]);
        seconds = crew_result(&crew);
    }
    served_end(&job);
    if (seconds < 0) {
        printf("%-5s failed\n", TRANSPORT_NAMES[x.transport]);
        return false;
    }
    printf("%-5s %.2f s a step, %.1f GiB in all (<= %g)%s, server %.1f, worker %.1f; theta has %.1f\n",
           TRANSPORT_NAMES[x.transport], seconds, peak.all, opts->limit_gib,
           peak.all > opts->limit_gib ? " MISSED" : "", peak.server, peak.worker,
           (double)sizeof(float) * (double)x.elems / GIB);
    fflush(stdout);
    return peak.all <= opts->limit_gib;
}

static bool run_all(const struct bench_options *opts, const char *self)
{
    struct places places;
    bool good = true;
    places_find(self, &places);
    for (enum transport t = TRANSPORT_TCP; t < TRANSPORTS; t++)
        if (strstr(opts->transports, TRANSPORT_NAMES[t]))
            good =
                run((struct exchange){.transport = t, .elems = opts->floats, .workers = 1, .shards = 1, .steps = STEPS},
                    opts, &places) &&
                good;
    return good;
}

int main(int argc, char **argv)
{
    struct options given;
    struct bench_options opts = {0};
    enum option_outcome outcome;
    dp_error err;
    if (options_parse(&given, &TABLE, &opts, argc, argv, &outcome, &err)) {
        fprintf(stderr, "bench_huge: %s\n", err.text);
        return 2;
    }
    bool good = true;
    double there = kib_line("/proc/meminfo", "MemAvailable");
    if (outcome == OPT_RUN && there < opts.limit_gib)
        printf("skipped: %.1f GiB of memory are free, it may take %g\n", there, opts.limit_gib);
    else if (outcome == OPT_RUN)
        good = run_all(&opts, argv[0]);
    options_fini(&given);
    return good ? 0 : 1;
}
