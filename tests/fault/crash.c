/* Jobs whose server and workers are killed at random moments, singly and together, and started again with the same
 * command lines until the job is done. The model has the bits of a run that nobody disturbed; where bits depend on the
 * order of arrival, each sample counts once.
 *
 *     crash                          a few kills of each job
 *     crash --kills 200 --seed 7     in all; the seed repeats their moments, as far as a machine repeats itself
 *     crash --job ftrl-sparse
 *     crash --list
 *
 * Prints TAP and how many kills were done. */
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "tests/fault/crash_jobs.h"
#include "tests/fault/disk_log.h"
#include "tests/fault/fleet.h"

enum {
    QUIET_MS = 120000,
    STUCK_MS = 60000, /* without an end or a further checkpoint */
    LEAVE_MS = 15000, /* for workers, once the server has ended */
    POLL_MS = 2,
    EARLY_MS = 250, /* the first of these after a start most kills are while something joins or resumes */
    LATE_MS = 120,
    KEEP = 2,
    SLOW_MS = 10,
    ROUNDS_MAX = 200,
    WHY_MAX = 300,
    KILLS = 30,
};

struct crash {
    const char *only; /* NULL: all jobs */
    uint64_t kills, seed, random;
    char folder[FLEET_PATH_MAX];                 /* of all rounds */
    char data[CRASH_DATA_COUNT][FLEET_PATH_MAX]; /* files; of the digits they are the repository's */
    unsigned number, failed, rounds, resumed;
    uint64_t done;
};

/* A round: a job from its begin to its end. */
struct round {
    struct crash *crash;
    const struct crash_job *job;
    struct fleet fleet;
    char folder[FLEET_PATH_MAX], checkpoints[FLEET_PATH_MAX], model[FLEET_PATH_MAX], endpoint[64], epochs[16];
    char env[4][FLEET_PATH_MAX + 32];
    const char *env_list[5];
    uint64_t kills_max;
    char why[WHY_MAX];
};

static bool fails(struct round *round, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fails(struct round *round, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)!vsnprintf(round->why, sizeof round->why, format, args);
    va_end(args);
    return false;
}

/* ---- command lines ---- */

static const char *data_of(const struct round *round)
{
    return round->job->data == CRASH_DIGITS ? DP_SOURCE_ROOT "/tests/data/digits/train.csv.gz"
                                            : round->crash->data[round->job->data];
}

static bool round_init(struct round *round, struct crash *crash, const struct crash_job *job, const char *name)
{
    *round = (struct round){.crash = crash, .job = job};
    char sub[64];
    snprintf(sub, sizeof sub, "%s-%s-%u", job->name, name, crash->rounds++);
    fleet_path(crash->folder, sub, round->folder);
    fleet_path(round->folder, "checkpoints", round->checkpoints);
    fleet_path(round->folder, "model", round->model);
    snprintf(round->epochs, sizeof round->epochs, "%u", crash_job_epochs(job));
    fleet_endpoint(0, round->endpoint);
    round->fleet.build = DP_BUILD_ROOT;
    round->fleet.folder = round->folder;
    FLEET_ADD(&round->fleet, 0, "--listen", round->endpoint, "--epochs", round->epochs, "--slots", "4", "--seed", "7",
              "--exit-when-done", "--json", "--export", round->model);
    fleet_add(&round->fleet, 0, job->options);
    return mkdir(round->folder, 0700) == 0 ? true : fails(round, "no folder for a round");
}

/* A call on the disk takes longer than a step. */
static void add_slow_disk(struct round *round)
{
    (void)!snprintf(round->env[0], sizeof round->env[0], "LD_PRELOAD=%s", DISK_SHIM);
    (void)!snprintf(round->env[1], sizeof round->env[1], DISK_ENV_FOLDER "=%s", round->checkpoints);
    (void)!snprintf(round->env[2], sizeof round->env[2], DISK_ENV_SLOW "=%d", SLOW_MS);
    (void)!snprintf(round->env[3], sizeof round->env[3], "ASAN_OPTIONS=verify_asan_link_order=0");
    for (size_t i = 0; i < ARRAY_LEN(round->env); i++)
        round->env_list[i] = round->env[i];
    round->fleet.env = round->env_list;
}

/* The same for each start. Steps are as fast as they can be, so that they go on while a checkpoint is written. */
static void add_kills(struct round *round)
{
    if (round->job->disk == CRASH_SLOW_DISK)
        add_slow_disk(round);
    FLEET_ADD(&round->fleet, 0, "--checkpoint-dir", round->checkpoints, "--checkpoint-every", "9", "--keep-checkpoints",
              "2", "--lease", "2");
    for (size_t worker = 1; worker < FLEET_MEMBERS; worker++)
        FLEET_ADD(&round->fleet, worker, "--server", round->endpoint, "--data", data_of(round), "--name",
                  worker == 1 ? "a" : "b");
}

/* ---- the quiet run ---- */

static bool run_quiet(struct round *round)
{
    FLEET_ADD(&round->fleet, 0, "--local-workers", "1", "--data", data_of(round));
    fleet_start(&round->fleet, 0);
    int status = fleet_wait(&round->fleet, 0, QUIET_MS);
    fleet_end(&round->fleet);
    return status == 0 ? true : fails(round, "the quiet run ended with %d", status);
}

/* ---- checkpoints that are there ---- */

/* Training steps of the newest one, 0: there is none. Counts all, and names with a dot. */
static uint64_t newest_checkpoint(const struct round *round, unsigned *ret_count, unsigned *ret_hidden)
{
    uint64_t newest = 0;
    unsigned count = 0, hidden = 0;
    DIR *dir = opendir(round->checkpoints);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        uint64_t step = strncmp(entry->d_name, "step-", 5) == 0 ? strtoull(entry->d_name + 5, NULL, 10) : 0;
        newest = MAX(newest, step);
        count += step > 0;
        hidden += entry->d_name[0] == '.' && entry->d_name[1] != '\0' && entry->d_name[1] != '.';
    }
    if (dir)
        closedir(dir);
    if (ret_count)
        *ret_count = count;
    if (ret_hidden)
        *ret_hidden = hidden;
    return newest;
}

/* ---- kills ---- */

enum outcome { GOES_ON, IS_DONE, HAS_FAILED };

/* A worker that ends by itself does so because the job is done. */
static enum outcome look(struct round *round)
{
    int status = fleet_poll(&round->fleet, 0);
    if (status == 0)
        return IS_DONE;
    if (status != FLEET_RUNS)
        return (void)fails(round, "the server ended with %d", status), HAS_FAILED;
    for (size_t worker = 1; worker < FLEET_MEMBERS; worker++) {
        if (round->fleet.pids[worker] <= 0)
            continue;
        status = fleet_poll(&round->fleet, worker);
        if (status != FLEET_RUNS && status != 0)
            return (void)fails(round, "worker %zu ended with %d", worker - 1, status), HAS_FAILED;
    }
    return GOES_ON;
}

/* Until `ms` have passed, and there is a checkpoint after `newest`, where one is wanted. */
static enum outcome go_on(struct round *round, uint64_t ms, bool want_checkpoint)
{
    uint64_t began_ms = mono_ms(), newest = newest_checkpoint(round, NULL, NULL);
    enum outcome outcome = look(round);
    while (outcome == GOES_ON && want_checkpoint && newest_checkpoint(round, NULL, NULL) <= newest) {
        if (mono_ms() - began_ms > STUCK_MS)
            return (void)fails(round, "no checkpoint came after that of step %" PRIu64, newest), HAS_FAILED;
        pause_ms(POLL_MS);
        outcome = look(round);
    }
    began_ms = mono_ms();
    while (outcome == GOES_ON && mono_ms() - began_ms < ms) {
        pause_ms(POLL_MS);
        outcome = look(round);
    }
    return outcome;
}

/* Members to kill: most often the server alone. */
static unsigned choose_members(uint64_t *random)
{
    static const unsigned SETS[] = {1, 1, 1, 2, 4, 1 | 2, 1 | 4, 2 | 4, 1 | 2 | 4};
    return SETS[random_below(random, ARRAY_LEN(SETS))];
}

static void kill_and_start(struct round *round)
{
    uint64_t *random = &round->crash->random;
    unsigned members = choose_members(random);
    size_t first = random_below(random, FLEET_MEMBERS);
    for (size_t i = 0; i < FLEET_MEMBERS; i++)
        if (members & (1U << (first + i) % FLEET_MEMBERS))
            fleet_kill(&round->fleet, (first + i) % FLEET_MEMBERS);
    first = random_below(random, FLEET_MEMBERS);
    for (size_t i = 0; i < FLEET_MEMBERS; i++)
        if (members & (1U << (first + i) % FLEET_MEMBERS))
            fleet_start(&round->fleet, (first + i) % FLEET_MEMBERS);
}

/* Workers that knew of the end have ended well; one that was started after it waits for a server in vain. */
static bool workers_end(struct round *round)
{
    for (size_t worker = 1; worker < FLEET_MEMBERS; worker++) {
        if (round->fleet.pids[worker] <= 0)
            continue;
        int status = fleet_wait(&round->fleet, worker, round->fleet.kills ? 500 : LEAVE_MS);
        if (status != 0 && status != FLEET_RUNS && status != 69)
            return fails(round, "worker %zu ended with %d", worker - 1, status);
    }
    return true;
}

static bool run_killed(struct round *round)
{
    uint64_t *random = &round->crash->random;
    enum outcome outcome = GOES_ON;
    for (size_t member = 0; member < FLEET_MEMBERS; member++)
        fleet_start(&round->fleet, member);
    while (outcome == GOES_ON && round->fleet.kills < round->kills_max) {
        bool late = random_below(random, 3) > 0;
        outcome = go_on(round, random_below(random, late ? LATE_MS : EARLY_MS), late);
        if (outcome == GOES_ON)
            kill_and_start(round);
    }
    while (outcome == GOES_ON)
        outcome = go_on(round, 0, true);
    return outcome == IS_DONE && workers_end(round);
}

/* ---- the end ---- */

/* Lines of the job's log of an event. */
static unsigned told_events(const struct round *round, const char *event)
{
    char path[FLEET_PATH_MAX], want[64], *line = NULL;
    size_t room = 0;
    unsigned count = 0;
    snprintf(want, sizeof want, "\"event\":\"%s\"", event);
    fleet_path(round->checkpoints, "log.jsonl", path);
    FILE *file = fopen(path, "re");
    while (file && getline(&line, &room, file) >= 0)
        count += strstr(line, want) != NULL;
    free(line);
    if (file)
        fclose(file);
    return count;
}

/* Samples that the server's last "done" tells; UINT64_MAX: there is none. */
static uint64_t samples_told(const struct round *round)
{
    char path[FLEET_PATH_MAX], *line = NULL;
    size_t room = 0;
    uint64_t samples = UINT64_MAX;
    fleet_path(round->folder, "server.out", path);
    FILE *file = fopen(path, "re");
    while (file && getline(&line, &room, file) >= 0) {
        json_t *event = json_loads(line, 0, NULL);
        const char *kind = json_string_value(json_object_get(event, "event"));
        if (kind && strcmp(kind, "done") == 0)
            samples = (uint64_t)json_integer_value(json_object_get(event, "samples"));
        json_decref(event);
    }
    free(line);
    if (file)
        fclose(file);
    return samples;
}

static bool check_samples(struct round *round)
{
    uint64_t told = samples_told(round), want = crash_job_samples(round->job);
    return told == want ? true : fails(round, "%" PRIu64 " samples counted, of %" PRIu64, told, want);
}

/* As many checkpoints are left as the options say. */
static bool check_folder(struct round *round)
{
    unsigned count, hidden;
    (void)newest_checkpoint(round, &count, &hidden);
    if (count != KEEP)
        return fails(round, "%u checkpoints are there, of --keep-checkpoints %d", count, KEEP);
    return hidden == 0 ? true : fails(round, "%u drafts or halves of checkpoints were left", hidden);
}

static bool check_end(struct round *round, const char *quiet)
{
    if (!check_folder(round))
        return false;
    if (round->job->claim == CRASH_ALL_SAMPLES)
        return check_samples(round);
    return files_same(quiet, round->model) ? true : fails(round, "the model's bits are not those of the quiet run");
}

static void report(struct crash *crash, const struct round *round, bool good, double seconds)
{
    crash->number++;
    crash->failed += !good;
    unsigned resumed = told_events(round, "resumed");
    crash->resumed += resumed;
    printf("%sok %u - %s: %s (%" PRIu64 " kills, resumed %u times, %.1f s)\n", good ? "" : "not ", crash->number,
           round->job->name, round->job->what, round->fleet.kills, resumed, seconds);
    if (!good) {
        printf("#   %s; --seed %" PRIu64 "\n", round->why, crash->seed);
        fleet_tell_logs(&round->fleet);
    }
    fflush(stdout);
}

/* Rounds of a job until its kills are done. */
static void try_job(struct crash *crash, const struct crash_job *job, uint64_t kills)
{
    struct round quiet, round;
    uint64_t done = 0;
    crash->random = crash->seed * 1000003 + (uint64_t)(job - CRASH_JOBS);
    if (!round_init(&quiet, crash, job, "quiet") || !run_quiet(&quiet)) {
        report(crash, &quiet, false, 0);
        return;
    }
    for (bool good = true; good && done < kills && crash->rounds < ROUNDS_MAX;) {
        uint64_t began_ms = mono_ms();
        good = round_init(&round, crash, job, "killed");
        round.kills_max = kills - done;
        add_kills(&round);
        good = good && run_killed(&round) && check_end(&round, quiet.model);
        fleet_end(&round.fleet);
        done += round.fleet.kills;
        report(crash, &round, good, (double)(mono_ms() - began_ms) / 1000);
        if (good)
            fleet_folder_remove(round.folder);
    }
    crash->done += done;
}

/* ---- command line ---- */

static uint64_t job_count(const struct crash *crash)
{
    uint64_t count = 0;
    for (const struct crash_job *job = CRASH_JOBS; job->name; job++)
        count += !crash->only || strcmp(job->name, crash->only) == 0;
    return count;
}

static void try_all(struct crash *crash)
{
    uint64_t jobs = job_count(crash), each = (crash->kills + jobs - 1) / jobs;
    for (const struct crash_job *job = CRASH_JOBS; job->name; job++)
        if (!crash->only || strcmp(job->name, crash->only) == 0)
            try_job(crash, job, each);
    crash->number++; /* a server that began anew each time would have the right bits, too */
    crash->failed += crash->resumed == 0;
    printf("%sok %u - jobs went on from checkpoints: %u times\n", crash->resumed ? "" : "not ", crash->number,
           crash->resumed);
    printf("1..%u\n# %" PRIu64 " kills done, seed %" PRIu64 "; %u failed of %u\n", crash->number, crash->done,
           crash->seed, crash->failed, crash->number);
}

static bool parse(struct crash *crash, int argc, char **argv, bool *ret_list)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        char *end;
        if (strcmp(argv[i], "--list") == 0)
            *ret_list = true;
        else if (strcmp(argv[i], "--kills") == 0 && (crash->kills = strtoull(value, &end, 10)) > 0 && !*end)
            i++;
        else if (strcmp(argv[i], "--seed") == 0 && (crash->seed = strtoull(value, &end, 10)) > 0 && !*end)
            i++;
        else if (strcmp(argv[i], "--job") == 0 && crash_job_find(value))
            crash->only = argv[++i];
        else
            return false;
    }
    return true;
}

static int list_jobs(void)
{
    for (const struct crash_job *job = CRASH_JOBS; job->name; job++)
        printf("%-16s %s\n", job->name, job->what);
    return 0;
}

int main(int argc, char **argv)
{
    static struct crash crash = {.kills = KILLS};
    bool list = false;
    crash.seed = (uint64_t)time(NULL);
    if (!parse(&crash, argc, argv, &list)) {
        fprintf(stderr, "usage: crash [--kills N] [--seed S] [--job NAME] [--list]\n");
        return 2;
    }
    if (list)
        return list_jobs();
    fleet_folder_new("crash", crash.folder);
    fleet_path(crash.folder, "sparse.svm", crash.data[CRASH_SPARSE]);
    fleet_path(crash.folder, "wide.svm", crash.data[CRASH_WIDE]);
    if (!crash.folder[0] || !crash_data_write(CRASH_SPARSE, crash.data[CRASH_SPARSE]) ||
        !crash_data_write(CRASH_WIDE, crash.data[CRASH_WIDE])) {
        printf("Bail out! no folder for data\n");
        return 1;
    }
    try_all(&crash);
    if (crash.failed > 0)
        printf("# logs are in %s\n", crash.folder);
    else
        fleet_folder_remove(crash.folder);
    return crash.failed > 0;
}
