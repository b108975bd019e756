/* Processes under test.
 *
 * Per process one thread reads both streams until nobody holds them any more and one waits for its end; both only fill
 * in `struct process` under the one lock and wake whoever waits. Invariant: a pid is signalled only under the lock and
 * before it was reaped, so never one of a stranger. */
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "tests/integration/support/fields.h"
#include "tests/integration/support/harness_impl.h"

enum { OUTPUT_MAX = 64 << 20, CHUNK = 1 << 16, ENV_MAX = 512, ARGS_MAX = 128, ORPHANS_MS = 30000, START_MS = 30000 };

struct output {
    int fd;
    char *text;          /* NUL-terminated once there is any */
    size_t bytes, found; /* process_expect_next goes on at `found` */
    char *line;          /* last one returned */
    bool ended;
};

struct process {
    const char *program;
    struct fields_source source; /* of its JSON, which a table of members has; program NULL: of none */
    pid_t pid;
    bool reaped;
    int status;
    struct output output[2];
    pthread_t reader, waiter;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static struct process *processes[HARNESS_PROCESSES_MAX];
static size_t process_count;

/* -- threads -- */

static void output_append(struct output *output, const char *data, size_t bytes)
{
    pthread_mutex_lock(&lock);
    if (output->bytes + bytes < OUTPUT_MAX) {
        char *text = realloc(output->text, output->bytes + bytes + 1);
        if (!text)
            abort();
        output->text = text;
        memcpy(text + output->bytes, data, bytes);
        output->bytes += bytes;
        text[output->bytes] = '\0';
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void output_read(struct output *output)
{
    char chunk[CHUNK];
    ssize_t n = read(output->fd, chunk, sizeof chunk);
    if (n > 0) {
        output_append(output, chunk, (size_t)n);
    } else if (n == 0 || errno != EINTR) {
        pthread_mutex_lock(&lock);
        output->ended = true;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
}

static void *read_both(void *arg)
{
    struct process *p = arg;
    while (!p->output[OUT].ended || !p->output[ERR].ended) {
        struct pollfd fds[2];
        for (int i = 0; i < 2; i++)
            fds[i] = (struct pollfd){.fd = p->output[i].ended ? -1 : p->output[i].fd, .events = POLLIN};
        if (poll(fds, 2, -1) < 0)
            continue;
        for (int i = 0; i < 2; i++)
            if (fds[i].revents)
                output_read(&p->output[i]);
    }
    return NULL;
}

static void *wait_for_end(void *arg)
{
    struct process *p = arg;
    siginfo_t info;
    while (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&lock);
    int status = 0;
    waitpid(p->pid, &status, 0);
    p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    p->reaped = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Waits for a change until the deadline; false once it has passed. Called with the lock held. */
static bool wait_change(uint64_t deadline_ms)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000), .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    return pthread_cond_timedwait(&changed, &lock, &until) != ETIMEDOUT;
}

/* -- starting -- */

const char *program_path(const char *name)
{
    char path[HARNESS_PATH_MAX];
    if (name[0] == '/')
        return harness_keep(name);
    const char *folder = strcmp(name, "dp-server") == 0 ? "server" : "worker", *build = getenv("DP_TEST_BUILD");
    snprintf(path, sizeof path, "%s/%s/%s", build ? build : DP_BUILD_ROOT, folder, name);
    return harness_keep(path);
}

bool program_built(const char *name)
{
    return access(program_path(name), X_OK) == 0;
}

/* `extra` first, since the first of a name counts; then the environment without DP_*. Tests with several shards want
 * all of them to have something to do. */
static void env_fill(char **env, const char *const *extra)
{
    extern char **environ;
    size_t n = 0;
    for (; extra && *extra && n < ENV_MAX; extra++)
        env[n++] = (char *)*extra;
    for (char **e = environ; *e && n < ENV_MAX; e++)
        if (strncmp(*e, "DP_", 3) != 0)
            env[n++] = *e;
    if (n < ENV_MAX)
        env[n++] = "DP_MIN_SHARD_KIB=0";
    env[n] = NULL;
}

/* In the child. The parent may have ended before prctl took effect. */
__attribute__((noreturn)) static void child_exec(const char *path, char **argv, char **env, pid_t parent, int out,
                                                 int err)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDONLY);
    if (getppid() != parent || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    execve(path, argv, env);
    _exit(127);
}

static void process_spawn(struct process *p, const char *const *args, const char *const *extra_env)
{
    char *argv[ARGS_MAX + 2], *env[ENV_MAX + 1];
    const char *path = program_path(p->program);
    size_t n = 0;
    argv[n++] = (char *)p->program;
    for (; *args && n < ARGS_MAX; args++)
        argv[n++] = (char *)*args;
    argv[n] = NULL;
    env_fill(env, extra_env);
    int out[2], err[2];
    cr_assert(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
    pid_t parent = getpid();
    p->pid = fork();
    cr_assert_geq(p->pid, 0, "cannot fork");
    if (p->pid == 0)
        child_exec(path, argv, env, parent, out[1], err[1]);
    setpgid(p->pid, p->pid); /* here too, so that it has happened whoever runs first */
    close(out[1]);
    close(err[1]);
    p->output[OUT].fd = out[0];
    p->output[ERR].fd = err[0];
}

struct process *process_start_env(const char *program, const char *const *args, const char *const *env)
{
    cr_assert_lt(process_count, HARNESS_PROCESSES_MAX);
    struct process *p = calloc(1, sizeof *p);
    cr_assert(p);
    p->program = harness_keep(program);
    if (strncmp(program, "dp-", 3) == 0)
        p->source = (struct fields_source){p->program, args[0] ? harness_keep(args[0]) : NULL};
    process_spawn(p, args, env);
    warden_tell(p->pid);
    processes[process_count++] = p;
    cr_assert_eq(pthread_create(&p->reader, NULL, read_both, p), 0);
    cr_assert_eq(pthread_create(&p->waiter, NULL, wait_for_end, p), 0);
    return p;
}

struct process *process_start(const char *program, const char *const *args)
{
    return process_start_env(program, args, NULL);
}

/* -- watching -- */

pid_t process_pid(const struct process *process)
{
    return process->pid;
}

void process_signal(struct process *p, int signal)
{
    pthread_mutex_lock(&lock);
    if (!p->reaped)
        kill(p->pid, signal);
    pthread_mutex_unlock(&lock);
}

static const char *text_of(const struct process *p, enum stream stream)
{
    return p->output[stream].text ? p->output[stream].text : "";
}

/* Ends the test. Called without the lock. */
__attribute__((noreturn)) static void give_up(struct process *p, const char *what)
{
    cr_assert_fail("%s (pid %d): %s\n--- stdout:\n%s\n--- stderr:\n%s\n---", p->program, (int)p->pid, what,
                   process_output(p, OUT), process_output(p, ERR));
    abort();
}

/* The first whole line (or the last one of an ended stream) from *at on that has `text`; *at moves behind it. Called
 * with the lock held. */
static const char *line_find(struct output *output, size_t *at, const char *text)
{
    while (output->text && *at < output->bytes) {
        const char *line = output->text + *at, *end = strchr(line, '\n');
        if (!end && !output->ended)
            return NULL;
        size_t length = end ? (size_t)(end - line) : output->bytes - *at;
        *at += length + (end != NULL);
        free(output->line);
        output->line = strndup(line, length);
        if (output->line && strstr(output->line, text))
            return output->line;
    }
    return NULL;
}

static const char *expect_from(struct process *p, enum stream stream, size_t at, const char *text, uint32_t timeout_ms)
{
    struct output *output = &p->output[stream];
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    bool ended = false, in_time = true;
    pthread_mutex_lock(&lock);
    const char *line = line_find(output, &at, text);
    while (!line && in_time && !ended) {
        ended = output->ended;
        in_time = ended || wait_change(deadline_ms);
        line = line_find(output, &at, text);
    }
    output->found = line ? at : output->found;
    pthread_mutex_unlock(&lock);
    if (line)
        return line;
    char what[512];
    snprintf(what, sizeof what, "%s without saying '%s'", ended ? "ended" : "went on past the deadline", text);
    give_up(p, what);
}

const char *process_expect(struct process *p, enum stream stream, const char *text, uint32_t timeout_ms)
{
    return expect_from(p, stream, 0, text, timeout_ms);
}

const char *process_expect_next(struct process *p, enum stream stream, const char *text, uint32_t timeout_ms)
{
    return expect_from(p, stream, p->output[stream].found, text, timeout_ms);
}

bool process_ended(struct process *p, uint32_t timeout_ms)
{
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    pthread_mutex_lock(&lock);
    while (!p->reaped && wait_change(deadline_ms))
        ;
    bool ended = p->reaped;
    pthread_mutex_unlock(&lock);
    return ended;
}

int process_wait(struct process *p, uint32_t timeout_ms)
{
    if (!process_ended(p, timeout_ms))
        give_up(p, "went on past the deadline");
    uint64_t deadline_ms = mono_ms() + ORPHANS_MS;
    pthread_mutex_lock(&lock);
    bool whole;
    while (!(whole = p->output[OUT].ended && p->output[ERR].ended) && wait_change(deadline_ms))
        ;
    pthread_mutex_unlock(&lock);
    if (!whole)
        give_up(p, "ended, but left children behind that hold its output");
    char buf[FIELDS_TEXT];
    const char *problem = p->source.program ? fields_problem_output(&p->source, text_of(p, OUT), NULL, buf) : NULL;
    if (problem)
        give_up(p, problem);
    return p->status;
}

const char *process_output(struct process *p, enum stream stream)
{
    pthread_mutex_lock(&lock);
    bool final = p->output[stream].ended;
    const char *text = text_of(p, stream);
    char *copy = final ? NULL : strdup(text); /* the reader may move it */
    pthread_mutex_unlock(&lock);
    if (final || !copy)
        return final ? text : "";
    text = harness_keep(copy);
    free(copy);
    return text;
}

struct run_result run_program(uint32_t timeout_ms, const char *program, const char *const *args)
{
    struct process *p = process_start(program, args);
    int status = process_wait(p, timeout_ms);
    return (struct run_result){.status = status, .out = process_output(p, OUT), .err = process_output(p, ERR)};
}

struct process *server_start(char *endpoint, size_t size, const char *const *args)
{
    static unsigned number;
    char name[64];
    snprintf(name, sizeof name, "port-%u", number++);
    const char *port_file = temp_path(name);
    const char *argv[ARGS_MAX] = {"--listen", "tcp://127.0.0.1:0", "--port-file", port_file};
    for (size_t n = 4; *args && n + 1 < ARGS_MAX; args++)
        argv[n++] = *args;
    struct process *server = process_start("dp-server", argv);
    const char *line = file_expect(port_file, server, START_MS);
    if (!line)
        give_up(server, "wrote no port file");
    cr_assert(str_copy(endpoint, size, line));
    return server;
}

/* -- beginning and end of a test -- */

void harness_init(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attr);
    pthread_condattr_destroy(&attr);
    process_count = 0;
    unsetenv("DP_SECRET_FILE"); /* no program is given it either */
    files_init();
    warden_start();
}

/* Kills what is left: the process, and whatever of its group still holds its output. */
static void process_free(struct process *p)
{
    pthread_mutex_lock(&lock);
    if (!p->reaped || !p->output[OUT].ended || !p->output[ERR].ended)
        kill(-p->pid, SIGKILL);
    pthread_mutex_unlock(&lock);
    pthread_join(p->waiter, NULL);
    pthread_join(p->reader, NULL);
    for (int i = 0; i < 2; i++) {
        close(p->output[i].fd);
        free(p->output[i].text);
        free(p->output[i].line);
    }
    free(p);
}

void harness_fini(void)
{
    while (process_count > 0)
        process_free(processes[--process_count]);
    pthread_cond_destroy(&changed);
    files_fini();
    warden_dismiss();
}
