/* A live job; see live_job.h. */
#include "tests/fault/live_job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "tests/integration/support/raw_peer.h"

enum {
    START_MS = 30000,
    STATUS_MS = 3000, /* an answer that takes longer is a fault */
    STEPS_MS = 10000,
    SETTLE_MS = 8000, /* for what attackers left to be freed */
    END_MS = 30000,
    POLL_MS = 20,
    FILES_MORE = 24,
    RSS_MORE = RSS_SCALE * (160 << 20), /* a crowd of connections takes some 80 KiB each, which malloc keeps */
    PATH_ROOM = PATH_MAX + 64,
};

bool why_not(struct why *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return false;
}

/* ---- processes ---- */

static void path_in(const struct job *job, const char *name, char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s/%s", job->folder, name);
}

/* In the child: nothing of it outlives us, and what it says is in a file. */
static void become(const char *program, const char *const *args, const char *log)
{
    int null = open("/dev/null", O_RDWR), err = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    if (null < 0 || err < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    setenv("DP_MIN_SHARD_KIB", "0", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    execv(program, (char *const *)args);
    _exit(127);
}

static pid_t start_program(const struct job *job, const char *program, const char *log, const char *const *args)
{
    char path[PATH_ROOM], log_path[PATH_ROOM];
    const char *all[JOB_ARGS_MAX] = {path};
    snprintf(path, sizeof path, "%s/%s", job->config->build, program);
    path_in(job, log, log_path);
    for (size_t i = 0; args[i] && i + 2 < JOB_ARGS_MAX; i++)
        all[i + 1] = args[i];
    pid_t pid = fork();
    if (pid == 0)
        become(path, all, log_path);
    return pid;
}
#define START(job, program, log, ...) start_program(job, program, log, (const char *const[]){__VA_ARGS__, NULL})

static bool is_alive(pid_t pid)
{
    siginfo_t info = {0};
    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* Its exit status, 128 + n by a signal, or -1 where it runs on; it is waited for once only. */
static int wait_for_end(pid_t *pid, uint64_t timeout_ms)
{
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    int status = 0;
    while (*pid > 0 && waitpid(*pid, &status, WNOHANG) == 0) {
        if (mono_ms() > deadline_ms)
            return -1;
        usleep(POLL_MS * 1000);
    }
    *pid = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void kill_and_wait(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        (void)wait_for_end(pid, END_MS);
    }
}

/* The last line of what a process said. */
static const char *last_line(const struct job *job, const char *log)
{
    static char tail[512];
    char path[PATH_ROOM], line[512];
    path_in(job, log, path);
    tail[0] = '\0';
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (line[0] != '\n')
            memcpy(tail, line, sizeof tail);
    if (file)
        fclose(file);
    tail[strcspn(tail, "\n")] = '\0';
    return tail;
}

static uint64_t field_of(pid_t pid, const char *file, const char *name)
{
    char path[64], line[256];
    uint64_t value = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name), NULL, 10);
    if (status)
        fclose(status);
    return value;
}

uint64_t process_rss(pid_t pid)
{
    return field_of(pid, "status", "VmRSS:") * 1024;
}

uint64_t process_files(pid_t pid)
{
    char path[64];
    uint64_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

uint64_t process_cpu_ms(pid_t pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *stat = fopen(path, "re");
    char *at = stat && fgets(line, sizeof line, stat) ? strrchr(line, ')') : NULL;
    if (stat)
        fclose(stat);
    for (int i = 0; at && i < 12; i++) /* utime and stime are the 12th and 13th after the name */
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    uint64_t ticks = strtoull(at, &at, 10);
    ticks += strtoull(at, NULL, 10);
    return ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* ---- status ---- */

static bool good_worker(const json_t *workers, pid_t pid)
{
    size_t i;
    json_t *worker;
    json_array_foreach(workers, i, worker)
    {
        const char *state = json_string_value(json_object_get(worker, "state"));
        if (json_integer_value(json_object_get(worker, "pid")) == pid && state && strcmp(state, "training") == 0)
            return true;
    }
    return false;
}

static void read_state(const struct job *job, const json_t *json, struct job_state *state)
{
    const json_t *workers = json_object_get(json, "workers");
    state->step = (uint64_t)json_integer_value(json_object_get(json_object_get(json, "progress"), "step"));
    state->workers = (uint32_t)json_array_size(workers);
    for (int i = 0; i < JOB_WORKERS; i++)
        state->good[i] = good_worker(workers, job->workers[i]);
}

static json_t *ask_status(const struct job *job, struct why *why)
{
    Dp__StatusRequest body = DP__STATUS_REQUEST__INIT;
    Dp__Header request = DP__HEADER__INIT;
    struct raw_peer peer;
    json_t *json = NULL;
    request.request = 1;
    request.body_case = DP__HEADER__BODY_STATUS_REQUEST;
    request.status_request = &body;
    if (!raw_connect(&peer, job->endpoint, NULL, 0)) {
        (void)why_not(why, "nobody can connect to ask for the status");
        return NULL;
    }
    const Dp__Header *answer = raw_send(&peer, &request, NULL, 0) ? raw_receive(&peer, END_MS) : NULL;
    if (answer && answer->body_case == DP__HEADER__BODY_STATUS)
        json = json_loadb((const char *)peer.payload, peer.payload_bytes, 0, NULL);
    raw_close(&peer);
    if (!json)
        (void)why_not(why, "the status is not answered");
    return json;
}

bool job_status(const struct job *job, struct job_state *ret_state, struct why *why)
{
    uint64_t asked_ms = mono_ms();
    json_t *json = ask_status(job, why);
    if (!json)
        return false;
    *ret_state = (struct job_state){.took_ms = mono_ms() - asked_ms};
    read_state(job, json, ret_state);
    json_decref(json);
    return true;
}

/* ---- start ---- */

static bool read_endpoint(struct job *job, const char *path, struct why *why)
{
    uint64_t deadline_ms = mono_ms() + START_MS;
    while (mono_ms() < deadline_ms && is_alive(job->server)) {
        FILE *file = fopen(path, "re");
        bool whole = file && fgets(job->endpoint, sizeof job->endpoint, file) && strchr(job->endpoint, '\n');
        if (file)
            fclose(file);
        if (whole) {
            job->endpoint[strcspn(job->endpoint, "\n")] = '\0';
            return true;
        }
        usleep(POLL_MS * 1000);
    }
    return why_not(why, "the server did not start: %s", last_line(job, "server.log"));
}

static bool read_shards(struct job *job, struct why *why)
{
    json_t *json = ask_status(job, why);
    size_t i;
    json_t *shard;
    json_array_foreach(json_object_get(json, "shards"), i, shard)
    {
        const char *endpoint = json_string_value(json_object_get(shard, "endpoint"));
        if (i < JOB_SHARDS_MAX && endpoint)
            (void)str_copy(job->shards[i], sizeof job->shards[i], endpoint);
    }
    json_decref(json);
    return job->shards[0][0] ? true : why_not(why, "the status names no shard");
}

/* Until both train and a step was made. */
static bool wait_for_workers(struct job *job, struct why *why)
{
    uint64_t deadline_ms = mono_ms() + START_MS;
    struct job_state state = {0};
    while (mono_ms() < deadline_ms) {
        if (!job_status(job, &state, why))
            return false;
        if (state.good[0] && state.good[1] && state.step > 0)
            return true;
        usleep(POLL_MS * 1000);
    }
    return why_not(why, "the workers did not start: %s", last_line(job, "worker0.log"));
}

static const char *number_text(uint32_t number)
{
    return number == 1 ? "1" : "2";
}

#define JOB_OPTIONS(job)                                                                                          \
    "--model", "softmax", "--batch", "64", "--slots", "8", "--optimizer", "momentum", "--lr", "0.01", "--shards", \
        number_text((job)->config->shards)

bool job_start(struct job *job, const struct job_config *config, struct why *why)
{
    const char *base = getenv("TMPDIR");
    char port[PATH_ROOM], model[PATH_ROOM];
    *job = (struct job){.config = config};
    snprintf(job->folder, sizeof job->folder, "%s/dp-hostile-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(job->folder)) {
        job->folder[0] = '\0';
        return why_not(why, "no folder for the job: %s", strerror(errno));
    }
    path_in(job, "port", port);
    path_in(job, "model", model);
    job->server = START(job, "server/dp-server", "server.log", JOB_OPTIONS(job), "--listen", "tcp://127.0.0.1:0",
                        "--port-file", port, "--epochs", "100000000", "--export", model, "--allow-users", "all");
    if (!read_endpoint(job, port, why))
        return false;
    for (int i = 0; i < JOB_WORKERS; i++)
        job->workers[i] = START(job, "worker/dp-worker", i ? "worker1.log" : "worker0.log", "--server", job->endpoint,
                                "--data", config->data, "--emulate-slot-ms", config->slot_ms);
    if (!wait_for_workers(job, why) || !read_shards(job, why))
        return false;
    job->quiet_rss = process_rss(job->server);
    job->quiet_files = process_files(job->server);
    return true;
}

/* ---- is it well? ---- */

static bool processes_live(struct job *job, struct why *why)
{
    if (!is_alive(job->server)) {
        int status = wait_for_end(&job->server, END_MS);
        return why_not(why, "the server has ended with %d: %s", status, last_line(job, "server.log"));
    }
    for (int i = 0; i < JOB_WORKERS; i++)
        if (!is_alive(job->workers[i]))
            return why_not(why, "a worker has ended: %s", last_line(job, i ? "worker1.log" : "worker0.log"));
    return true;
}

static bool steps_go_on(const struct job *job, struct why *why)
{
    enum { STEPS = 3 };
    uint64_t deadline_ms = mono_ms() + STEPS_MS, first = 0;
    struct job_state state = {0};
    for (bool asked = false; !asked || mono_ms() < deadline_ms; asked = true) {
        if (!job_status(job, &state, why))
            return false;
        if (state.took_ms > STATUS_MS)
            return why_not(why, "the status took %" PRIu64 " ms", state.took_ms);
        first = asked ? first : state.step;
        if (asked && state.step >= first + STEPS && state.good[0] && state.good[1])
            return true;
        usleep(POLL_MS * 1000);
    }
    if (!state.good[0] || !state.good[1])
        return why_not(why, "a good worker is no member any more: %s",
                       last_line(job, state.good[0] ? "worker1.log" : "worker0.log"));
    return why_not(why, "step %" PRIu64 " went on to %" PRIu64 " only in %d s", first, state.step, STEPS_MS / 1000);
}

static bool nothing_is_left(const struct job *job, struct why *why)
{
    uint64_t deadline_ms = mono_ms() + SETTLE_MS, files, rss;
    do {
        files = process_files(job->server);
        rss = process_rss(job->server);
        if (files <= job->quiet_files + FILES_MORE && rss <= job->quiet_rss + RSS_MORE)
            return true;
        usleep(POLL_MS * 1000);
    } while (mono_ms() < deadline_ms);
    return why_not(why,
                   "left behind: %" PRIu64 " MiB where there were %" PRIu64 ", %" PRIu64
                   " descriptors where there were %" PRIu64,
                   rss >> 20, job->quiet_rss >> 20, files, job->quiet_files);
}

bool job_is_well(struct job *job, struct why *why)
{
    return processes_live(job, why) && steps_go_on(job, why) && nothing_is_left(job, why) && processes_live(job, why);
}

/* ---- the same bits? ---- */

/* The file, and where its tensors begin; NULL where there is none. */
static char *read_model(const struct job *job, const char *name, size_t *ret_start, size_t *ret_bytes)
{
    char path[PATH_ROOM];
    path_in(job, name, path);
    FILE *file = fopen(path, "re");
    long bytes = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : 0;
    char *text = bytes > 8 ? calloc(1, (size_t)bytes + 1) : NULL;
    if (text) {
        rewind(file);
        *ret_bytes = fread(text, 1, (size_t)bytes, file);
        uint64_t head = 0;
        memcpy(&head, text, sizeof head);
        *ret_start = (size_t)MIN(head + 8, (uint64_t)*ret_bytes);
    }
    if (file)
        fclose(file);
    return text;
}

/* The model's training steps, as text. */
static bool steps_of(const char *model, size_t start, char steps[24])
{
    static const char KEY[] = "\"steps\":\"";
    const char *at = memmem(model, start, KEY, sizeof KEY - 1);
    size_t digits = at ? strspn(at + sizeof KEY - 1, "0123456789") : 0;
    if (digits == 0 || digits > 20)
        return false;
    memcpy(steps, at + sizeof KEY - 1, digits);
    steps[digits] = '\0';
    return true;
}

/* The same steps, by a worker of the server's own. */
static bool run_again(struct job *job, const char *steps, struct why *why)
{
    char model[PATH_ROOM];
    path_in(job, "quiet", model);
    pid_t pid =
        START(job, "server/dp-server", "quiet.log", JOB_OPTIONS(job), "--listen", "tcp://127.0.0.1:0", "--steps", steps,
              "--export", model, "--local-workers", "1", "--data", job->config->data, "--exit-when-done");
    int status = wait_for_end(&pid, 4 * END_MS);
    if (status == 0)
        return true;
    kill_and_wait(&pid);
    return why_not(why, "the quiet run of %s steps ended with %d: %s", steps, status, last_line(job, "quiet.log"));
}

static bool compare(struct job *job, struct why *why)
{
    size_t start = 0, bytes = 0, quiet_start = 0, quiet_bytes = 0;
    char steps[24];
    AUTOFREE char *model = read_model(job, "model", &start, &bytes);
    if (!model || !steps_of(model, start, steps))
        return why_not(why, "the server left no model: %s", last_line(job, "server.log"));
    if (!run_again(job, steps, why))
        return false;
    AUTOFREE char *quiet = read_model(job, "quiet", &quiet_start, &quiet_bytes);
    if (!quiet || bytes - start != quiet_bytes - quiet_start ||
        memcmp(model + start, quiet + quiet_start, bytes - start) != 0)
        return why_not(why, "after %s steps the parameters differ from those of a quiet run", steps);
    return true;
}

/* A sanitizer's report does not always end its process. */
static bool log_is_clean(const struct job *job, const char *log, struct why *why)
{
    static const char *const REPORTS[] = {"runtime error:", "Sanitizer"};
    char path[PATH_ROOM], line[JOB_WHY_MAX];
    bool clean = true;
    path_in(job, log, path);
    FILE *file = fopen(path, "re");
    while (clean && file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < ARRAY_LEN(REPORTS); i++)
            if (strstr(line, REPORTS[i]))
                clean = why_not(why, "%s says: %.300s", log, line);
    if (file)
        fclose(file);
    return clean;
}

bool job_ends_well(struct job *job, struct why *why)
{
    kill(job->server, SIGTERM);
    int status = wait_for_end(&job->server, END_MS);
    if (!log_is_clean(job, "server.log", why) || !log_is_clean(job, "worker0.log", why))
        return false;
    if (status != 128 + SIGTERM)
        return why_not(why, "SIGTERM ended the server with %d: %s", status, last_line(job, "server.log"));
    return compare(job, why);
}

/* The last `most` lines. */
static void tell_log(const struct job *job, const char *log, int most)
{
    char path[PATH_ROOM], line[300];
    int lines = 0;
    path_in(job, log, path);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        lines++;
    if (!file)
        return;
    rewind(file);
    for (int at = 0; fgets(line, sizeof line, file); at++)
        if (at >= lines - most)
            printf("# %s: %.*s\n", log, (int)strcspn(line, "\n"), line);
    fclose(file);
}

void job_tell_logs(const struct job *job)
{
    tell_log(job, "worker0.log", 5);
    tell_log(job, "worker1.log", 5);
    tell_log(job, "server.log", 25);
}

void job_end(struct job *job)
{
    static const char *const FILES[] = {"port",        "model",       "quiet",    "server.log",
                                        "worker0.log", "worker1.log", "quiet.log"};
    char path[PATH_ROOM];
    kill_and_wait(&job->server);
    for (int i = 0; i < JOB_WORKERS; i++)
        kill_and_wait(&job->workers[i]);
    for (size_t i = 0; job->folder[0] && i < ARRAY_LEN(FILES); i++) {
        path_in(job, FILES[i], path);
        unlink(path);
    }
    if (job->folder[0])
        rmdir(job->folder);
    job->folder[0] = '\0';
}
