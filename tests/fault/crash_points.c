/* A tiny job is ended, or its disk fails, at the n-th call that it makes on its --checkpoint-dir, for each kind of
 * fault. A failing disk costs the job nothing but checkpoints; a killed job is started again, and ends with the bits of
 * a quiet run. A disk that does not answer keeps the server from no end that it is asked for. Then the log of all calls
 * is replayed: after a crash of the machine at any of them, whatever was not synced being lost or not, each checkpoint
 * is whole and none that was on the disk is gone.
 *
 *     crash_points                    some n of each kind
 *     crash_points --all              each n
 *     crash_points --fault enospc     one kind; "replay" is the last part
 *     crash_points --fault kill --at 17
 *
 * Prints TAP. */
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/util.h"
#include "tests/fault/disk_log.h"
#include "tests/fault/disk_replay.h"
#include "tests/fault/fleet.h"

enum {
    RUN_MS = 60000,
    STEPS = 60,
    POINTS = 9,
    POINTS_HANG = 3 /* some 12 s each */,
    LOOK_MS = 20,
    KEEP = 2,
    RUNS = 12,
    RUNS_ALL = 200,
    WHY_MAX = 400,
    ENV_ROOM = 64
};

static const char *const FAULTS[] = {DISK_FAULTS};
static const char *const WHAT[] = {
    "killed before the call",    "killed in its middle",   "half of the bytes are written", "no space once",
    "an error of the disk once", "no space from there on", "no answer from there on"};

struct points {
    bool all;
    const char *only; /* NULL: all kinds */
    unsigned long only_at;
    char folder[FLEET_PATH_MAX], quiet[FLEET_PATH_MAX];
    unsigned number, failed, runs;
    unsigned long calls; /* of a run that nothing disturbs */
    char why[WHY_MAX];
};

/* A run and those that go on from it: one folder of checkpoints. */
struct trial {
    struct points *points;
    struct fleet fleet;
    char folder[FLEET_PATH_MAX], checkpoints[FLEET_PATH_MAX], model[FLEET_PATH_MAX], log[FLEET_PATH_MAX];
    char env[4][FLEET_PATH_MAX + ENV_ROOM];
    const char *env_list[5];
};

static bool fails(struct points *points, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fails(struct points *points, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)!vsnprintf(points->why, sizeof points->why, format, args);
    va_end(args);
    return false;
}

/* ---- runs ---- */

static bool trial_init(struct trial *trial, struct points *points, bool checkpoints)
{
    static const char data[] = DP_SOURCE_ROOT "/tests/data/digits/train.csv.gz";
    char name[32];
    snprintf(name, sizeof name, "run-%u", points->runs++);
    *trial = (struct trial){.points = points};
    fleet_path(points->folder, name, trial->folder);
    fleet_path(trial->folder, "checkpoints", trial->checkpoints);
    fleet_path(trial->folder, "model", trial->model);
    fleet_path(trial->folder, "calls", trial->log);
    trial->fleet.build = DP_BUILD_ROOT;
    trial->fleet.folder = trial->folder;
    FLEET_ADD(&trial->fleet, 0, "--listen", "tcp://127.0.0.1:0", "--model", "softmax", "--batch", "700", "--slots", "2",
              "--steps", "60", "--optimizer", "adam", "--l1", "0.001", "--shards", "2", "--seed", "3",
              "--exit-when-done", "--quiet", "--local-workers", "1", "--data", data, "--export", trial->model);
    if (checkpoints)
        FLEET_ADD(&trial->fleet, 0, "--checkpoint-every", "9", "--keep-checkpoints", "2");
    return mkdir(trial->folder, 0700) == 0 ? true : fails(points, "no folder for a run");
}

/* Its calls are written down; at the n-th, > 0, the fault happens. */
static void shim(struct trial *trial, const char *fault, unsigned long n)
{
    snprintf(trial->env[0], sizeof trial->env[0], "LD_PRELOAD=%s", DISK_SHIM);
    (void)!snprintf(trial->env[1], sizeof trial->env[1], DISK_ENV_FOLDER "=%s", trial->checkpoints);
    (void)!snprintf(trial->env[2], sizeof trial->env[2], DISK_ENV_LOG "=%s", trial->log);
    snprintf(trial->env[3], sizeof trial->env[3], DISK_ENV_AT "=%lu", n);
    static char do_what[32];
    snprintf(do_what, sizeof do_what, DISK_ENV_DO "=%s", fault);
    memcpy(trial->env_list, (const char *const[]){trial->env[0], trial->env[1], trial->env[2], trial->env[3], do_what},
           sizeof trial->env_list);
}

/* The exit status. `checkpoints`: the folder, NULL: none; `more`: further arguments. */
static int run(struct trial *trial, const char *checkpoints, bool shimmed, const char *const *more)
{
    struct fleet fleet = trial->fleet;
    const char *env[ARRAY_LEN(trial->env_list) + 1] = {0};
    if (shimmed)
        memcpy(env, trial->env_list, sizeof trial->env_list);
    fleet.env = env;
    if (checkpoints)
        FLEET_ADD(&fleet, 0, "--checkpoint-dir", checkpoints);
    if (more)
        fleet_add(&fleet, 0, more);
    fleet_start(&fleet, 0);
    int status = fleet_wait(&fleet, 0, RUN_MS);
    fleet_end(&fleet);
    return status;
}

static bool log_has(const struct trial *trial, const char *text)
{
    char path[FLEET_PATH_MAX], *line = NULL;
    size_t room = 0;
    bool has = false;
    fleet_path(trial->folder, "server.log", path);
    FILE *file = fopen(path, "re");
    while (file && !has && getline(&line, &room, file) >= 0)
        has = strstr(line, text) != NULL;
    free(line);
    if (file)
        fclose(file);
    return has;
}

/* ---- checks ---- */

static bool check_model(struct trial *trial, const char *when)
{
    if (!files_same(trial->points->quiet, trial->model))
        return fails(trial->points, "%s, the model's bits are not those of the quiet run", when);
    remove(trial->model);
    return true;
}

/* The last checkpoint is of the end, no more are there than may be, and nothing is left of others. */
static bool check_folder(struct points *points, const char *path)
{
    unsigned count = 0, hidden = 0;
    uint64_t newest = 0;
    DIR *dir = opendir(path);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        uint64_t step = strncmp(entry->d_name, "step-", 5) == 0 ? strtoull(entry->d_name + 5, NULL, 10) : 0;
        newest = MAX(newest, step);
        count += step > 0;
        hidden += entry->d_name[0] == '.' && entry->d_name[1] != '\0' && entry->d_name[1] != '.';
    }
    if (dir)
        closedir(dir);
    if (newest != STEPS || count > KEEP || hidden > 0)
        return fails(points, "started again, it left %u checkpoints up to step %" PRIu64 ", and %u drafts", count,
                     newest, hidden);
    return true;
}

static bool run_again(struct trial *trial, const char *checkpoints)
{
    int status = run(trial, checkpoints, false, NULL);
    if (status != 0)
        return fails(trial->points, "started again, it ended with %d", status);
    return check_model(trial, "started again") && check_folder(trial->points, checkpoints);
}

/* Whether the first fault was of a call that a checkpoint cannot do without. */
static bool hit_checkpoint(const struct disk_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        const struct disk_op *op = &log->ops[i];
        if (op->record.fault)
            return strncmp(op->path, ".step-", 6) == 0 && strstr(op->path, ".tmp") && op->record.call != DISK_UNLINK;
    }
    return false;
}

/* The disk failed, and the process lived: the job is done with the right bits, or did not begin and names the folder.
 */
static bool check_failing(struct trial *trial, enum disk_fault fault, int status, const struct disk_log *log)
{
    struct points *points = trial->points;
    if (status == 1 && fault != DISK_SHORT && log_has(trial, trial->checkpoints))
        return true;
    if (status != 0)
        return fails(points, "the job ended with %d", status);
    if (fault != DISK_SHORT && hit_checkpoint(log) && !log_has(trial, "checkpoint-failed"))
        return fails(points, "no warning says that a checkpoint failed");
    return check_model(trial, "with a failing disk");
}

static bool is_deadly(enum disk_fault fault)
{
    return fault == DISK_KILL || fault == DISK_TEAR;
}

/* ---- a disk that does not answer ---- */

/* The call of the draft of a checkpoint that does not return; those before the job are of the server's start. */
static bool hangs(const struct trial *trial, bool *ret_in_draft)
{
    struct disk_log log;
    bool any = disk_log_read(trial->log, &log);
    const struct disk_op *last = any && log.count > 0 ? &log.ops[log.count - 1] : NULL;
    any = last && last->record.fault;
    *ret_in_draft = any && strncmp(last->path, ".step-", 6) == 0;
    disk_log_free(&log);
    return any;
}

/* Waits until the call does not return, or the server has ended. */
static bool wait_for_hang(struct trial *trial, bool *ret_in_draft)
{
    for (unsigned ms = 0; ms < RUN_MS; ms += LOOK_MS) {
        if (hangs(trial, ret_in_draft))
            return true;
        if (fleet_poll(&trial->fleet, 0) != FLEET_RUNS)
            return false;
        pause_ms(LOOK_MS);
    }
    return false;
}

/* It is asked to end while the writer waits. *ret_reached: it was the writer that did. */
static bool stop_hung(struct trial *trial, bool *ret_reached)
{
    struct points *points = trial->points;
    bool hung = wait_for_hang(trial, ret_reached);
    if (!*ret_reached) {
        fleet_kill(&trial->fleet, 0);
        return true;
    }
    kill(trial->fleet.pids[0], SIGTERM);
    int status = hung ? fleet_wait(&trial->fleet, 0, RUN_MS) : 0;
    if (status != 128 + SIGTERM)
        return fails(points, "asked to end, it ended with %d", status);
    if (!log_has(trial, "does not answer") || !log_has(trial, trial->checkpoints))
        return fails(points, "nobody was told that the disk does not answer");
    remove(trial->model);
    return true;
}

static bool try_hang(struct points *points, unsigned long n, bool *ret_reached)
{
    struct trial trial;
    const char *env[ARRAY_LEN(trial.env_list) + 1] = {0};
    if (!trial_init(&trial, points, true))
        return false;
    shim(&trial, FAULTS[DISK_HANG], n);
    memcpy(env, trial.env_list, sizeof trial.env_list);
    trial.fleet.env = env;
    struct trial again = trial;
    FLEET_ADD(&trial.fleet, 0, "--checkpoint-dir", trial.checkpoints);
    fleet_start(&trial.fleet, 0);
    bool good = stop_hung(&trial, ret_reached);
    fleet_end(&trial.fleet);
    good = good && (!*ret_reached || run_again(&again, again.checkpoints));
    if (good)
        fleet_folder_remove(trial.folder);
    else
        fleet_tell_logs(&trial.fleet);
    return good;
}

/* *ret_reached: the call was made. */
static bool try_point(struct points *points, enum disk_fault fault, unsigned long n, bool *ret_reached)
{
    struct trial trial;
    struct disk_log log;
    if (!trial_init(&trial, points, true))
        return false;
    shim(&trial, FAULTS[fault], n);
    int status = run(&trial, trial.checkpoints, true, NULL);
    bool good = disk_log_read(trial.log, &log) || fails(points, "nothing was written down");
    *ret_reached = good && (is_deadly(fault) ? status == 128 + 9 : disk_log_faults(&log) > 0);
    if (good && *ret_reached && is_deadly(fault))
        remove(trial.model);
    else if (good)
        good = check_failing(&trial, fault, status, &log);
    good = good && run_again(&trial, trial.checkpoints);
    disk_log_free(&log);
    if (good)
        fleet_folder_remove(trial.folder);
    else
        fleet_tell_logs(&trial.fleet);
    return good;
}

/* ---- parts ---- */

static void report(struct points *points, bool good, const char *name, const char *what)
{
    points->number++;
    points->failed += !good;
    printf("%sok %u - %s: %s\n", good ? "" : "not ", points->number, name, what);
    if (!good)
        printf("#   %s\n", points->why);
    fflush(stdout);
}

/* Each n that a run has, or some of them: those of other kinds of faults lie between. */
static void try_fault(struct points *points, enum disk_fault fault)
{
    const unsigned few = fault == DISK_HANG ? POINTS_HANG : POINTS;
    unsigned long stride = points->all ? 1 : points->calls / few + 1, reached = 0, tried = 0;
    unsigned long begin =
        points->only_at ? points->only_at : 1 + (points->all ? 0 : (unsigned)fault * stride / DISK_FAULT_COUNT);
    bool good = true;
    char what[160], why[WHY_MAX];
    for (unsigned long n = begin; good && n <= (points->only_at ? points->only_at : points->calls); n += stride) {
        bool was_reached = false;
        good = fault == DISK_HANG ? try_hang(points, n, &was_reached) : try_point(points, fault, n, &was_reached);
        reached += was_reached;
        tried++;
        memcpy(why, points->why, sizeof why);
        if (!good)
            fails(points, "--fault %s --at %lu: %.300s", FAULTS[fault], n, why);
    }
    if (good && reached == 0)
        good = fails(points, "none of the calls was made");
    snprintf(what, sizeof what, "%s; at %lu of %lu calls, of which %lu were made", WHAT[fault], tried, points->calls,
             reached);
    report(points, good, FAULTS[fault], what);
}

static bool run_state(void *arg, const char *checkpoints)
{
    struct trial trial;
    if (!trial_init(&trial, arg, true))
        return false;
    bool good = run_again(&trial, checkpoints);
    if (good)
        fleet_folder_remove(trial.folder);
    else
        fleet_tell_logs(&trial.fleet);
    return good;
}

/* Its reason is `points->why` where a server did not end well. */
static bool replay_log(struct points *points, struct disk_replay *replay)
{
    return disk_replay(replay) || (replay->why[0] ? fails(points, "%s", replay->why) : false);
}

/* A job that is killed once, goes on, is begun anew over its checkpoints, and is started when it is finished. */
static bool record(struct trial *trial, struct points *points)
{
    static const char *const NEVER[] = {"--resume", "never", NULL};
    if (!trial_init(trial, points, true))
        return false;
    shim(trial, "kill", points->calls * 2 / 3);
    int first = run(trial, trial->checkpoints, true, NULL);
    shim(trial, "kill", 0);
    int second = run(trial, trial->checkpoints, true, NULL);
    int third = run(trial, trial->checkpoints, true, NEVER);
    int last = run(trial, trial->checkpoints, true, NULL);
    if ((first != 128 + 9 && first != 0) || second != 0 || third != 0 || last != 0)
        return fails(points, "runs ended with %d, %d, %d, %d", first, second, third, last);
    return check_model(trial, "at last");
}

static void replay(struct points *points)
{
    struct trial trial;
    struct disk_log log = {0};
    char what[200];
    bool good = record(&trial, points) && (disk_log_read(trial.log, &log) || fails(points, "nothing was written down"));
    struct disk_replay replay = {.log = &log,
                                 .folder = trial.folder,
                                 .thorough = points->all,
                                 .seed = 16,
                                 .runs = points->all ? RUNS_ALL : RUNS,
                                 .run = run_state,
                                 .arg = points};
    good = good && replay_log(points, &replay);
    snprintf(what, sizeof what, "crashes of the machine at %zu calls: %zu different states of %zu, servers on %zu",
             log.count, replay.states, replay.tried, replay.ran);
    report(points, good, "replay", what);
    disk_log_free(&log);
}

/* The bits to end with, and the number of calls. */
static bool prepare(struct points *points)
{
    struct trial quiet, counted;
    struct disk_log log;
    if (!trial_init(&quiet, points, false) || run(&quiet, NULL, false, NULL) != 0)
        return fails(points, "the quiet run failed");
    memcpy(points->quiet, quiet.model, sizeof points->quiet);
    if (!trial_init(&counted, points, true))
        return false;
    shim(&counted, "kill", 0);
    if (run(&counted, counted.checkpoints, true, NULL) != 0 || !disk_log_read(counted.log, &log))
        return fails(points, "the run whose calls are counted failed");
    points->calls = log.count;
    disk_log_free(&log);
    return points->calls > 0 && check_model(&counted, "with checkpoints");
}

static bool parse(struct points *points, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool known = strcmp(value, "replay") == 0;
        for (size_t f = 0; f < ARRAY_LEN(FAULTS); f++)
            known |= strcmp(value, FAULTS[f]) == 0;
        if (strcmp(argv[i], "--all") == 0)
            points->all = true;
        else if (strcmp(argv[i], "--fault") == 0 && known)
            points->only = argv[++i];
        else if (strcmp(argv[i], "--at") == 0 && (points->only_at = strtoul(value, NULL, 10)) > 0)
            i++;
        else
            return false;
    }
    return true;
}

static bool is_wanted(const struct points *points, const char *name)
{
    return !points->only || strcmp(points->only, name) == 0;
}

int main(int argc, char **argv)
{
    static struct points points;
    char made[FLEET_PATH_MAX];
    if (!parse(&points, argc, argv)) {
        fprintf(stderr, "usage: crash_points [--all] [--fault kill|tear|short|enospc|eio|full|hang|replay [--at N]]\n");
        return 2;
    }
    fleet_folder_new("points", made);
    if (!realpath(made, points.folder) || !prepare(&points)) { /* the shim knows folders by their real paths */
        printf("Bail out! %s\n", points.why[0] ? points.why : "no folder");
        return 1;
    }
    for (size_t f = 0; f < ARRAY_LEN(FAULTS); f++)
        if (is_wanted(&points, FAULTS[f]))
            try_fault(&points, (enum disk_fault)f);
    if (is_wanted(&points, "replay"))
        replay(&points);
    printf("1..%u\n", points.number);
    if (points.failed > 0)
        printf("# logs are in %s\n", points.folder);
    else
        fleet_folder_remove(points.folder);
    return points.failed > 0;
}
