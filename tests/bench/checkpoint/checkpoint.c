/* The cost of checkpoints to a job whose one worker computes nothing: adam on one dense tensor, over shared memory,
 * with a checkpoint every 10 s, every 2 s, and none, in turn; and how long the job takes to go on after its server was
 * killed.
 *
 *   bench_checkpoint [--quick] [--floats 100000000] [--seconds 21] [--rounds 2] [--dir /dev/shm]
 *
 * Each bound stands beside its number. Status 1: one was missed. Thread: main. */
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/options.h"
#include "tests/bench/checkpoint/checkpoint.h"
#include "tests/bench/exchange/bench.h"

enum { LOOK_MS = 20, SKIP = 6, ROUNDS_MAX = 16, STATES = 2, PATH_BYTES = 512, DEADLINE_S = 120 };
static const double GB = 1e9;
static const double WORST_MAX = 2, RESTART_MAX = 1, COPIES_MAX = 1.01 /* pages of the rest are in it */;
static const double RATE_MIN[PACES] = {0, 0.95, 0.8};
static const char *const EVERY[PACES] = {NULL, "10s", "2s"};
static const char *const NAMES[PACES] = {"none", "every 10 s", "every 2 s"};

struct bench_options {
    bool quick;
    uint64_t floats;
    double seconds;
    uint64_t rounds;
    const char *dir, *trace;
};

#define ROW(field, name, type, min, max, dflt, help)                                                      \
    {                                                                                                     \
        "bench", name, type, offsetof(struct bench_options, field), "X", min, max, dflt, NULL, NULL, help \
    }

static const struct option ROWS[] = {
    ROW(quick, "quick", OPT_FLAG, 0, 0, NULL, "10000000 floats, one round, unless told otherwise"),
    ROW(floats, "floats", OPT_U64, 0, 1e10, "0", "of the tensor; 0: 100000000, or 10000000 with --quick"),
    ROW(seconds, "seconds", OPT_F64, 3, 1e6, "21", "of each job"),
    ROW(rounds, "rounds", OPT_U64, 0, ROUNDS_MAX, "0", "of the jobs, in turn; 0: 2, or 1 with --quick"),
    ROW(trace, "trace", OPT_STRING, 0, 0, NULL, "file that gets each step: pace, seconds since start, ms"),
    ROW(dir, "dir", OPT_STRING, 0, 0, "/dev/shm", "folder for the checkpoints"),
};

static const struct option_table TABLE = {
    .program = "bench_checkpoint",
    .summary = "what checkpoints cost",
    .usage = "  bench_checkpoint [options]\n",
    .topics = "bench: what is measured\n",
    .list = ROWS,
    .count = ARRAY_LEN(ROWS),
};

struct bench {
    const struct bench_options *opts;
    struct places places;
    char folder[PATH_BYTES];
    uint32_t missed;
};

/* ---- jobs ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Removes the folder that the bench has made. */
static void clear_folder(const struct bench *bench)
{
    (void)nftw(bench->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The number behind `name` in /proc/PID/status, in bytes; 0 once it has ended. */
static double status_bytes(long pid, const char *name)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtod(line + strlen(name), NULL);
    if (file)
        fclose(file);
    return kib * 1024;
}

/* Until `seconds` after the step SKIP, or with 0 until the first step. False where the worker ends. */
static bool watch(struct run *run, const struct served *job, long worker, int reports, double seconds)
{
    const double begun = seconds_now();
    double until = begun + DEADLINE_S;
    while (seconds_now() < until && run->count < RUN_STEPS_MAX) {
        struct pollfd fd = {.fd = reports, .events = POLLIN};
        run->peak_bytes = MAX(run->peak_bytes, status_bytes(job->server, "VmRSS:") + status_bytes(worker, "RssAnon:"));
        if (poll(&fd, 1, LOOK_MS) <= 0)
            continue;
        if (read(reports, &run->times[run->count], sizeof(double)) != sizeof(double))
            return false;
        if (++run->count == SKIP + 1)
            until = seconds_now() + seconds;
        if (seconds <= 0)
            return true;
    }
    return run->count > SKIP + 1;
}

static void end_job(struct served *job, struct crew *crew)
{
    for (uint32_t i = 0; i < crew->count; i++) {
        kill((pid_t)crew->pids[i], SIGKILL);
        waitpid((pid_t)crew->pids[i], NULL, 0);
        close(crew->outs[i]);
    }
    if (job->server > 0)
        kill((pid_t)job->server, SIGKILL);
    served_end(job);
}

/* A job that is looked at for `seconds` and then killed. */
static bool run_job(const struct bench *bench, enum pace pace, double seconds, struct run *run)
{
    const char *options[16] = {"--optimizer", "adam", "--lr", "0.001", NULL};
    const struct exchange x = {.transport = TRANSPORT_SHM,
                               .elems = bench->opts->floats,
                               .workers = 1,
                               .shards = 1,
                               .steps = RUN_STEPS_MAX,
                               .options = options};
    struct served job;
    struct crew crew;
    bool good = crew_init(&crew);
    if (EVERY[pace]) {
        const char *more[] = {"--checkpoint-dir", bench->folder,        "--checkpoint-every",
                              EVERY[pace],        "--keep-checkpoints", "1"};
        memcpy(options + 4, more, sizeof more);
    }
    run->count = 0;
    run->peak_bytes = 0;
    run->started = seconds_now();
    good = good && served_start(&job, &x, bench->places.server);
    int rc = good ? crew_fork(&crew) : -1;
    if (rc == 0)
        checkpoint_worker(job.endpoint, bench->opts->floats);
    good = rc == 1 && crew_start(&crew) && watch(run, &job, crew.pids[0], crew.outs[0], seconds);
    end_job(&job, &crew);
    return good;
}

/* Checkpoints that the job's log says were made. */
static uint32_t count_made(const struct bench *bench)
{
    char path[PATH_BYTES + 16], line[4096];
    uint32_t made = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", bench->folder);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        made += strstr(line, "\"checkpoint\"") != NULL;
    if (file)
        fclose(file);
    return made;
}

/* ---- reading ---- */

static double read_seconds;

static int read_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    static char buffer[1 << 20];
    (void)st;
    (void)ftw;
    int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    const double start = seconds_now();
    while (fd >= 0 && read(fd, buffer, sizeof buffer) > 0)
        ;
    if (fd >= 0) {
        read_seconds += seconds_now() - start;
        close(fd);
    }
    return 0;
}

/* Seconds that one thread takes to read the folder's files. */
static double time_reading(const struct bench *bench)
{
    read_seconds = 0;
    (void)nftw(bench->folder, read_one, 16, FTW_PHYS);
    return read_seconds;
}

/* ---- the table ---- */

static const char *verdict(struct bench *bench, bool holds)
{
    bench->missed += !holds;
    return holds ? "holds" : "MISSED";
}

static double median_of(double *list, uint32_t count);

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *list, uint32_t count)
{
    qsort(list, count, sizeof *list, compare);
    return count % 2 ? list[count / 2] : (list[count / 2 - 1] + list[count / 2]) / 2;
}

struct steps_seen run_steps(const struct run *run, uint32_t skip)
{
    struct steps_seen seen = {.count = run->count - skip - 1};
    AUTOFREE double *steps = mem_array(seen.count, sizeof *steps);
    if (!steps)
        return (struct steps_seen){0};
    for (uint32_t i = 0; i < seen.count; i++)
        steps[i] = run->times[skip + i + 1] - run->times[skip + i];
    seen.median = median_of(steps, seen.count);
    seen.worst = steps[seen.count - 1];
    seen.rate = seen.count / (run->times[run->count - 1] - run->times[skip]);
    return seen;
}

/* All rounds of a pace. */
struct found {
    double rate, median, worst,
        copies; /* steps a second; seconds; worst to the median of its own job; of theta and state */
    double peak_bytes;
    uint32_t rounds, made; /* checkpoints */
};

static void add(struct found *found, const struct run *run)
{
    const struct steps_seen seen = run_steps(run, SKIP);
    found->rate += seen.rate;
    found->median += seen.median;
    found->worst = MAX(found->worst, seen.worst / seen.median);
    found->peak_bytes = MAX(found->peak_bytes, run->peak_bytes);
    found->rounds++;
}

/* Bytes of theta and of adam's state. */
static double copy_bytes(const struct bench_options *opts)
{
    return (double)sizeof(float) * (1 + STATES) * (double)opts->floats;
}

/* The share of the time that is left to steps if memory is all that matters, used by one thread's rate: a checkpoint
 * reads theta and state once, writes the file, and writes a copy of the state, which the step reads anyway. */
static double limit_of(const struct bench_options *opts, double memory, double seconds)
{
    const double all = copy_bytes(opts), state = all * STATES / (1 + STATES);
    return 1 - (2 * all + state) / memory / seconds;
}

static void print_row(struct bench *bench, enum pace pace, const struct found *f, const struct found *none,
                      double memory)
{
    static const double SECONDS[PACES] = {0, 10, 2};
    const double ratio = f->rate / none->rate, copies = (f->peak_bytes - none->peak_bytes) / copy_bytes(bench->opts);
    const uint32_t due = f->rounds * (uint32_t)(bench->opts->seconds / SECONDS[pace]);
    printf(" %5.3f >= %4.2f %-6s %9.3f", ratio, RATE_MIN[pace], verdict(bench, ratio >= RATE_MIN[pace]),
           limit_of(bench->opts, memory, SECONDS[pace]));
    printf(" %13.2f <= %1.0f %-6s", f->worst, WORST_MAX, verdict(bench, f->worst <= WORST_MAX));
    printf(" %7.2f %5.2f <= 1 %-6s", f->peak_bytes / GB, copies, verdict(bench, copies <= COPIES_MAX));
    printf(" %5u of %u %s\n", f->made, due, verdict(bench, f->made + f->rounds >= due));
}

static void print_rows(struct bench *bench, const struct found *found, double memory)
{
    const struct found *none = &found[PACE_NEVER];
    printf("\n%-10s %9s %19s %9s %25s %24s %20s\n", "checkpoint", "ms a step", "steps/s to none", "limit",
           "worst step to the median", "GB, and copies more", "checkpoints, due");
    for (enum pace p = 0; p < PACES; p++) {
        printf("%-10s %9.1f", NAMES[p], 1e3 * found[p].median / found[p].rounds);
        if (p == PACE_NEVER)
            printf(" %5.3f %13s %9.3f %13.2f %11s %7.2f\n", 1.0, "", 1.0, none->worst, "", none->peak_bytes / GB);
        else
            print_row(bench, p, &found[p], none, memory);
    }
}

/* Appends the steps of a run, for a look at single ones. */
static bool trace_steps(const char *path, enum pace pace, const struct run *run)
{
    FILE *file = fopen(path, "a");
    if (!file) {
        perror(path);
        return false;
    }
    for (uint32_t i = SKIP; i + 1 < run->count; i++)
        fprintf(file, "%d %.3f %.1f\n", (int)pace, run->times[i] - run->started,
                1e3 * (run->times[i + 1] - run->times[i]));
    return fclose(file) == 0;
}

static bool run_rounds(struct bench *bench, struct run *run)
{
    struct found found[PACES] = {{0}};
    const double memory = memory_rate();
    printf("%.3g floats, %llu rounds of %.0f s; a checkpoint has %.2f GB; memory streams %.1f GB/s, one thread\n",
           (double)bench->opts->floats, (unsigned long long)bench->opts->rounds, bench->opts->seconds,
           copy_bytes(bench->opts) / GB, memory / GB);
    for (uint64_t round = 0; round < bench->opts->rounds; round++)
        for (enum pace p = 0; p < PACES; p++) {
            fflush(stdout);
            clear_folder(bench);
            if (!run_job(bench, p, bench->opts->seconds, run))
                return false;
            add(&found[p], run);
            found[p].made += count_made(bench);
            if (bench->opts->trace && !trace_steps(bench->opts->trace, p, run))
                return false;
        }
    print_rows(bench, found, memory);
    return true;
}

/* The last job had checkpoints and was killed. */
static bool run_restart(struct bench *bench, struct run *run)
{
    const double reading = time_reading(bench);
    if (!run_job(bench, PACE_2S, 0, run))
        return false;
    const double restart = run->times[0] - run->started;
    clear_folder(bench);
    if (!run_job(bench, PACE_NEVER, 0, run))
        return false;
    const double fresh = run->times[0] - run->started;
    printf("\nrestart to the first theta at the worker: %.2f s, of which reading the bytes once %.2f; the rest "
           "%.2f <= %.0f %s; a new job: %.2f s\n",
           restart, reading, restart - reading, RESTART_MAX, verdict(bench, restart - reading <= RESTART_MAX), fresh);
    return true;
}

static bool run_all(struct bench_options *opts, const char *self)
{
    struct bench bench = {.opts = opts};
    struct run run = {0};
    places_find(self, &bench.places);
    opts->floats = opts->floats ? opts->floats : opts->quick ? 10000000 : 100000000;
    opts->rounds = opts->rounds ? opts->rounds : opts->quick ? 1 : 2;
    AUTOFREE double *times = run.times = mem_array(RUN_STEPS_MAX, sizeof *run.times);
    snprintf(bench.folder, sizeof bench.folder, "%.400s/dp-checkpoint-XXXXXX", opts->dir);
    if (!times || !mkdtemp(bench.folder)) {
        perror(bench.folder);
        return false;
    }
    bool good = run_rounds(&bench, &run) && run_restart(&bench, &run);
    clear_folder(&bench);
    if (good)
        printf("%u bounds missed\n", bench.missed);
    else
        fprintf(stderr, "bench_checkpoint: a job failed\n");
    return good && bench.missed == 0;
}

int main(int argc, char **argv)
{
    struct options given;
    struct bench_options opts = {0};
    enum option_outcome outcome;
    dp_error err;
    if (options_parse(&given, &TABLE, &opts, argc, argv, &outcome, &err)) {
        fprintf(stderr, "bench_checkpoint: %s\n", err.text);
        return 2;
    }
    bool good = outcome != OPT_RUN || run_all(&opts, argv[0]);
    options_fini(&given);
    return good ? 0 : 1;
}
