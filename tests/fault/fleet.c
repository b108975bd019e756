/* Processes of a job; see fleet.h. */
#include "tests/fault/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { POLL_MS = 2, KILL_MS = 30000, TAIL_LINES = 6, LINE_MAX_BYTES = 512, ENV_MAX = 8 };

/* ---- files ---- */

void fleet_path(const char *folder, const char *name, char path[FLEET_PATH_MAX])
{
    (void)!snprintf(path, FLEET_PATH_MAX, "%s/%s", folder, name);
}

void fleet_folder_new(const char *name, char path[FLEET_PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    (void)!snprintf(path, FLEET_PATH_MAX, "%s/dp-%s-XXXXXX", base ? base : "/tmp", name);
    if (!mkdtemp(path))
        path[0] = '\0';
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path) && errno != ENOENT;
}

void fleet_folder_remove(const char *path)
{
    if (path[0])
        (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

bool files_same(const char *path, const char *other)
{
    FILE *a = fopen(path, "re"), *b = fopen(other, "re");
    bool same = a && b;
    for (int x = 0; same && x != EOF;) {
        x = getc(a);
        same = x == getc(b);
    }
    if (a)
        fclose(a);
    if (b)
        fclose(b);
    return same;
}

void fleet_endpoint(unsigned number, char endpoint[64])
{
    unsigned pid = (unsigned)getpid();
    snprintf(endpoint, 64, "tcp://127.%u.%u.%u:%u", 64 + (pid >> 16) % 64, (pid >> 8) % 256, pid % 256, 17700 + number);
}

/* ---- starting ---- */

void fleet_add(struct fleet *fleet, size_t member, const char *const *args)
{
    const char **list = fleet->args[member];
    size_t count = 0;
    while (list[count])
        count++;
    for (; *args && count + 1 < FLEET_ARGS_MAX; args++)
        list[count++] = *args;
    list[count] = NULL;
}

static void log_names(size_t member, char out[32], char err[32])
{
    if (member == 0) {
        snprintf(out, 32, "server.out");
        snprintf(err, 32, "server.log");
    } else {
        snprintf(out, 32, "worker%zu.out", member - 1);
        snprintf(err, 32, "worker%zu.log", member - 1);
    }
}

static int log_open(const struct fleet *fleet, const char *name)
{
    char path[FLEET_PATH_MAX];
    fleet_path(fleet->folder, name, path);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* In the child: nothing of it outlives us, and what it says is in files. */
__attribute__((noreturn)) static void become(const struct fleet *fleet, size_t member, const char *path)
{
    char out_name[32], err_name[32], *argv[FLEET_ARGS_MAX + 1] = {(char *)path};
    log_names(member, out_name, err_name);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), out = log_open(fleet, out_name), err = log_open(fleet, err_name);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    if (null < 0 || out < 0 || err < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    setenv("DP_MIN_SHARD_KIB", "0", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    for (const char *const *env = fleet->env; member == 0 && env && *env; env++)
        putenv((char *)*env);
    for (size_t i = 0; fleet->args[member][i]; i++)
        argv[i + 1] = (char *)fleet->args[member][i];
    execv(path, argv);
    _exit(127);
}

void fleet_start(struct fleet *fleet, size_t member)
{
    char path[FLEET_PATH_MAX];
    fleet_path(fleet->build, member == 0 ? "server/dp-server" : "worker/dp-worker", path);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        become(fleet, member, path);
    fleet->pids[member] = pid > 0 ? pid : 0;
}

/* ---- ends ---- */

int fleet_poll(struct fleet *fleet, size_t member)
{
    int status = 0;
    pid_t pid = fleet->pids[member];
    if (pid <= 0)
        return 126; /* it could not be started */
    if (waitpid(pid, &status, WNOHANG) != pid)
        return FLEET_RUNS;
    fleet->pids[member] = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int fleet_wait(struct fleet *fleet, size_t member, uint64_t timeout_ms)
{
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    int status = fleet_poll(fleet, member);
    while (status == FLEET_RUNS && mono_ms() < deadline_ms) {
        pause_ms(POLL_MS);
        status = fleet_poll(fleet, member);
    }
    return status;
}

static void kill_one(struct fleet *fleet, size_t member)
{
    if (fleet->pids[member] <= 0)
        return;
    kill(fleet->pids[member], SIGKILL);
    (void)fleet_wait(fleet, member, KILL_MS);
}

void fleet_kill(struct fleet *fleet, size_t member)
{
    fleet->kills += fleet->pids[member] > 0;
    kill_one(fleet, member);
}

void fleet_end(struct fleet *fleet)
{
    for (size_t member = 0; member < FLEET_MEMBERS; member++)
        kill_one(fleet, member);
}

static void tell_log(const char *path, const char *name)
{
    char lines[TAIL_LINES][LINE_MAX_BYTES];
    size_t count = 0;
    FILE *file = fopen(path, "re");
    while (file && fgets(lines[count % TAIL_LINES], LINE_MAX_BYTES, file))
        count++;
    if (file)
        fclose(file);
    for (size_t i = count > TAIL_LINES ? count - TAIL_LINES : 0; i < count; i++)
        printf("#   %s: %.*s\n", name, (int)strcspn(lines[i % TAIL_LINES], "\n"), lines[i % TAIL_LINES]);
}

void fleet_tell_logs(const struct fleet *fleet)
{
    char path[FLEET_PATH_MAX], out[32], err[32];
    for (size_t member = 0; member < FLEET_MEMBERS; member++) {
        log_names(member, out, err);
        fleet_path(fleet->folder, err, path);
        tell_log(path, err);
    }
}

/* ---- time and chance ---- */

void pause_ms(uint64_t ms)
{
    for (uint64_t end_ms = mono_ms() + ms, now; (now = mono_ms()) < end_ms;)
        (void)poll(NULL, 0, (int)(end_ms - now));
}

uint64_t random_below(uint64_t *state, uint64_t below)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}
