/* Local workers; see supervise.h.
 *
 * The stderr of a worker goes to the log with its number; its last line is told when the worker fails for good.
 * A worker that dies by a signal or for lack of the server is started again, at first at once, then with growing delay;
 * one that fails for its data or usage would fail again, so the job fails with its message. Thread: head. */
#include "server/host/supervise.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum {
    ARGS_MAX = 40,
    LINE_MAX_BYTES = 640,
    QUICK_DEATH_MS = 5000, /* a worker that lives shorter counts as a failed start */
    QUICK_DEATHS_MAX = 6,
    RESTART_DELAY_MS = 500,
    KILL_AFTER_MS = 2000,
    LEAVE_MS = 250, /* a worker that knows that the job is done ends by itself */
};

struct child {
    struct supervise *supervise;
    uint32_t number;
    char name[32];   /* "local-3": the one that is started again is the same worker to the head */
    char option[40]; /* "--name=local-3" */
    uv_process_t process;
    uv_pipe_t pipe;
    uv_timer_t restart;
    bool running;
    int open_handles; /* of process and pipe */
    int quick_deaths;
    uint64_t started_ms;
    bool restart_wanted;
    dp_err failed; /* to give up with once all it said was read; DP_OK: nothing */
    char how[96];  /* it ended */
    size_t line_bytes;
    char line[LINE_MAX_BYTES];
    char last_line[LINE_MAX_BYTES];
};

struct supervise {
    uv_loop_t *loop;
    struct supervise_calls calls;
    char program[PATH_MAX];
    char *args[ARGS_MAX];
    size_t arg_count;
    uint32_t count;
    struct child *children; /* [count] */
    bool ending, end_expected, signal_expected, told_ended;
    uv_timer_t kill_timer;
};

/* ---- the command line ---- */

static dp_err add_arg(struct supervise *s, const char *text, dp_error *err)
{
    bool room = s->arg_count + 2 < ARGS_MAX; /* a child's name and NULL follow */
    if (!room || !(s->args[s->arg_count] = strdup(text)))
        return dp_fail(err, DP_NOMEM, "out of memory for the command line of a local worker");
    s->arg_count++;
    return DP_OK;
}

/* "--name=value", so that no value can be taken for an option; nothing where there is no value. */
static dp_err add_option(struct supervise *s, const char *name, const char *value, dp_error *err)
{
    if (!value)
        return DP_OK;
    char text[PATH_MAX + 64];
    if (snprintf(text, sizeof text, "--%s=%s", name, value) >= (int)sizeof text)
        return dp_fail(err, DP_USAGE, "option --%s: the value is too long", name);
    return add_arg(s, text, err);
}

static dp_err make_args(struct supervise *s, const struct server_options *opts, const char *server, dp_error *err)
{
    static const char *const FORMATS[] = {"auto", "libsvm", "csv", "idx"};
    static const char *const HEADER[] = {"auto", "on", "off"};
    static const char *const EXTRA[] = {"error", "ignore"};
    static const char *const KERNELS[] = {"auto", "ref", "avx2", "avx512"};
    static const char *const SHM[] = {"auto", "on", "off"};
    static const char *const LEVELS[] = {"error", "warn", "info", "debug"};
    char threads[24], limit[24], slot_ms[32], parent[24];
    snprintf(threads, sizeof threads, "%" PRIu64, opts->data.threads);
    snprintf(limit, sizeof limit, "%" PRIu64, opts->data.memory_limit_mib);
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    snprintf(slot_ms, sizeof slot_ms, "%.9g", opts->data.emulate_slot_ms);
    const struct {
        const char *name, *value;
    } options[] = {
        {"server", server},
        {"data", opts->data.data},
        {"eval", opts->data.eval},
        {"format", FORMATS[opts->data.format]},
        {"header", HEADER[opts->data.header]},
        {"label-column", opts->data.label_column},
        {"ignore-columns", opts->data.ignore},
        {"extra-features", EXTRA[opts->data.extra_features]},
        {"labels", opts->data.labels},
        {"eval-labels", opts->data.eval_labels},
        {"threads", threads},
        {"memory-limit", limit},
        {"emulate-slot-ms", slot_ms},
        {"emulate-stalls", opts->data.emulate_stalls},
        {"shm", SHM[opts->shm]},
        {"secret-file", opts->secret_file},
        {"die-with-parent", parent},
        {"kernels", KERNELS[opts->kernels]},
        {"log-level", LEVELS[opts->log_level]},
    };
    dp_err e = add_arg(s, s->program, err);
    if (!e)
        e = add_arg(s, "train", err);
    for (size_t i = 0; !e && i < ARRAY_LEN(options); i++)
        e = add_option(s, options[i].name, options[i].value, err);
    if (!e)
        e = add_arg(s, "--quiet", err);
    return e;
}

/* dp-worker beside this program, or where a build has it, or on the PATH. */
static dp_err find_program(struct supervise *s, dp_error *err)
{
    char here[PATH_MAX - 64];
    ssize_t n = readlink("/proc/self/exe", here, sizeof here - 1);
    char *slash = NULL;
    if (n > 0) {
        here[n] = '\0';
        slash = strrchr(here, '/');
    }
    if (slash) {
        *slash = '\0';
        static const char *const PLACES[] = {"", "/../worker"};
        for (size_t i = 0; i < ARRAY_LEN(PLACES); i++)
            if (snprintf(s->program, sizeof s->program, "%s%s/dp-worker", here, PLACES[i]) < (int)sizeof s->program &&
                access(s->program, X_OK) == 0)
                return DP_OK;
    }
    const char *path = getenv("PATH");
    for (const char *at = path; at && *at;) {
        size_t len = strcspn(at, ":");
        if (snprintf(s->program, sizeof s->program, "%.*s/dp-worker", (int)len, at) < (int)sizeof s->program &&
            access(s->program, X_OK) == 0)
            return DP_OK;
        at += len + (at[len] == ':');
    }
    return dp_fail(
        err, DP_SYSTEM,
        "dp-worker is neither beside dp-server%s%.200s nor on the PATH: install it, or start workers yourself",
        slash ? " in " : "", slash ? here : "");
}

/* ---- lines of a worker ---- */

static void take_line(struct child *child)
{
    child->line[child->line_bytes] = '\0';
    if (child->line_bytes > 0) {
        (void)str_copy(child->last_line, sizeof child->last_line, child->line);
        log_info("local-worker number=%u said=\"%s\"", child->number, child->line);
    }
    child->line_bytes = 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    size_t bytes = MIN(suggested, (size_t)4096);
    buf->base = malloc(bytes);
    buf->len = buf->base ? bytes : 0; /* 0: on_read hears UV_ENOBUFS */
}

static void child_closed(uv_handle_t *handle);

static void on_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    for (ssize_t i = 0; i < bytes; i++) {
        if (buf->base[i] == '\n' || child->line_bytes + 1 >= sizeof child->line)
            take_line(child);
        if (buf->base[i] != '\n')
            child->line[child->line_bytes++] = buf->base[i];
    }
    free(buf->base);
    if (bytes < 0) {
        take_line(child);
        uv_close((uv_handle_t *)stream, child_closed);
    }
}

/* ---- life of a worker ---- */

static void tell_ended(struct supervise *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->children[i].open_handles > 0)
            return;
    if (!s->ending || s->told_ended)
        return;
    s->told_ended = true;
    uv_close((uv_handle_t *)&s->kill_timer, NULL);
    for (uint32_t i = 0; i < s->count; i++)
        uv_close((uv_handle_t *)&s->children[i].restart, NULL);
    s->calls.ended(s->calls.arg);
}

static dp_err child_start(struct child *child, dp_error *err);

dp_err supervise_reason(const struct supervise_death *death, dp_error *err)
{
    const char *said = death->said, *again = death->again ? " again and again" : "";
    static const char PREFIX[] = "dp-worker: ";
    if (strncmp(said, PREFIX, sizeof PREFIX - 1) == 0)
        said += sizeof PREFIX - 1;
    if (!*said)
        return dp_fail(err, death->code, "local worker %u %s%s, and said nothing", death->number, death->how, again);
    if (death->code != DP_SYSTEM)
        return dp_fail(err, death->code, "%s", said);
    return dp_fail(err, death->code, "local worker %u %s%s; it said: %s", death->number, death->how, again, said);
}

static void give_up(struct child *child)
{
    dp_error err;
    (void)supervise_reason(&(struct supervise_death){.number = child->number,
                                                     .code = child->failed,
                                                     .how = child->how,
                                                     .again = child->quick_deaths >= QUICK_DEATHS_MAX,
                                                     .said = child->last_line},
                           &err);
    child->failed = DP_OK;
    child->supervise->calls.gave_up(child->supervise->calls.arg, &err);
}

static void on_restart(uv_timer_t *timer)
{
    struct child *child = timer->data;
    dp_error err;
    if (child->supervise->ending || child->supervise->end_expected)
        return;
    dp_err e = child_start(child, &err);
    if (e == DP_BUSY) {
        log_warn("local-worker-not-started number=%u reason=\"%s\" action=\"tried again\"", child->number, err.text);
        child->quick_deaths = MAX(child->quick_deaths, 2);
        child->restart_wanted = true;
    } else if (e) {
        child->supervise->calls.gave_up(child->supervise->calls.arg, &err);
    }
}

/* Process and pipe are closed: the place is free for the next. */
static void child_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;
    if (--child->open_handles > 0)
        return;
    struct supervise *s = child->supervise;
    if (child->failed)
        give_up(child);
    if (s->ending || s->end_expected || !child->restart_wanted) {
        tell_ended(s);
        return;
    }
    uint64_t delay = child->quick_deaths > 1 ? (uint64_t)RESTART_DELAY_MS << MIN(child->quick_deaths, 5) : 0;
    uv_timer_start(&child->restart, on_restart, delay, 0);
}

static void describe_exit(int64_t status, int signal_number, char *text, size_t size)
{
    if (signal_number)
        snprintf(text, size, "was killed by signal %d (%s)", signal_number, strsignal(signal_number));
    else
        snprintf(text, size, "exited with status %" PRId64, status);
}

static void on_process_exit(uv_process_t *process, int64_t status, int signal_number)
{
    struct child *child = process->data;
    struct supervise *s = child->supervise;
    describe_exit(status, signal_number, child->how, sizeof child->how);
    child->running = false;
    child->quick_deaths = mono_ms() - child->started_ms < QUICK_DEATH_MS ? child->quick_deaths + 1 : 1;
    bool fatal = !signal_number && (status == 1 || status == 2);
    bool over = !signal_number && status == 0; /* the shards have told it that the job is done, maybe before the head */
    bool expected = over || s->ending || s->end_expected;
    child->restart_wanted = !expected && !fatal && child->quick_deaths < QUICK_DEATHS_MAX;
    if (!expected && !child->restart_wanted)
        child->failed = !fatal ? DP_SYSTEM : status == 2 ? DP_USAGE : DP_DATA;
    s->calls.died(s->calls.arg, child->name, (uint32_t)process->pid);
    if (child->restart_wanted && !s->signal_expected)
        log_warn("local-worker-died number=%u how=\"%s\" action=\"starting another\"", child->number, child->how);
    else
        log_info("local-worker-ended number=%u how=\"%s\"", child->number, child->how);
    uv_close((uv_handle_t *)process, child_closed);
}

/* Things that may be there in a while; DP_BUSY says so. */
static bool is_short_of(int rc)
{
    return rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_EAGAIN || rc == UV_ENOMEM;
}

static dp_err child_start(struct child *child, dp_error *err)
{
    struct supervise *s = child->supervise;
    child->line_bytes = 0;
    child->last_line[0] = '\0';
    s->args[s->arg_count] = child->option;
    uv_pipe_init(s->loop, &child->pipe, 0);
    child->pipe.data = child;
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE}};
    stdio[2].data.stream = (uv_stream_t *)&child->pipe;
    uv_process_options_t options = {
        .exit_cb = on_process_exit, .file = s->program, .args = s->args, .stdio_count = 3, .stdio = stdio};
    int rc = uv_spawn(s->loop, &child->process, &options);
    child->process.data = child;
    child->open_handles = 2;
    child->started_ms = mono_ms();
    if (rc) {
        child->restart_wanted = false;
        uv_close((uv_handle_t *)&child->process, child_closed);
        uv_close((uv_handle_t *)&child->pipe, child_closed);
        return dp_fail(err, is_short_of(rc) ? DP_BUSY : DP_SYSTEM, "cannot start %.300s: %s%s", s->program,
                       uv_strerror(rc),
                       is_short_of(rc) ? "; raise the limit (ulimit -u, ulimit -n, pids.max, ulimit -v)" : "");
    }
    child->running = true;
    uv_read_start((uv_stream_t *)&child->pipe, on_alloc, on_read);
    log_info("local-worker-started number=%u pid=%d", child->number, child->process.pid);
    return DP_OK;
}

/* ---- all of them ---- */

static dp_err prepare(struct supervise *s, const struct server_options *opts, const char *server, dp_error *err)
{
    s->children = mem_array_zero((size_t)opts->local_workers, sizeof *s->children);
    if (!s->children)
        return dp_fail(err, DP_NOMEM, "out of memory for %" PRIu64 " local workers", opts->local_workers);
    dp_err e = find_program(s, err);
    return e ? e : make_args(s, opts, server, err);
}

dp_err supervise_start(uv_loop_t *loop, const struct server_options *opts, const char *server,
                       const struct supervise_calls *calls, struct supervise **ret_supervise, dp_error *err)
{
    struct supervise *s = mem_array_zero(1, sizeof *s);
    if (!s)
        return dp_fail(err, DP_NOMEM, "out of memory for local workers");
    s->loop = loop;
    s->calls = *calls;
    dp_err e = prepare(s, opts, server, err);
    if (e) {
        supervise_free(&s);
        return e;
    }
    uv_timer_init(loop, &s->kill_timer);
    s->kill_timer.data = s;
    s->count = (uint32_t)opts->local_workers;
    for (uint32_t i = 0; i < s->count; i++) {
        s->children[i].supervise = s;
        s->children[i].number = i;
        snprintf(s->children[i].name, sizeof s->children[i].name, "local-%u", i);
        snprintf(s->children[i].option, sizeof s->children[i].option, "--name=%s", s->children[i].name);
        uv_timer_init(loop, &s->children[i].restart);
        s->children[i].restart.data = &s->children[i];
    }
    *ret_supervise = s;
    for (uint32_t i = 0; i < s->count && !e; i++)
        e = child_start(&s->children[i], err);
    return e;
}

static void signal_all(struct supervise *s, int signal_number)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->children[i].running)
            uv_process_kill(&s->children[i].process, signal_number);
}

static void on_kill_timer(uv_timer_t *timer)
{
    signal_all(timer->data, SIGKILL);
}

static void terminate(uv_timer_t *timer)
{
    struct supervise *s = timer->data;
    signal_all(s, SIGTERM);
    uv_timer_start(&s->kill_timer, on_kill_timer, KILL_AFTER_MS, 0);
}

void supervise_end(struct supervise *s, bool done)
{
    if (s->ending)
        return;
    s->ending = true;
    for (uint32_t i = 0; i < s->count; i++)
        uv_timer_stop(&s->children[i].restart);
    if (done)
        uv_timer_start(&s->kill_timer, terminate, LEAVE_MS, 0);
    else
        terminate(&s->kill_timer);
    tell_ended(s);
}

void supervise_expect_end(struct supervise *s)
{
    s->end_expected = true;
}

void supervise_expect_signal(struct supervise *s)
{
    if (s)
        s->signal_expected = true;
}

bool supervise_knows(const struct supervise *s, pid_t pid)
{
    for (uint32_t i = 0; s && i < s->count; i++)
        if (s->children[i].running && s->children[i].process.pid == pid)
            return true;
    return false;
}

void supervise_free(struct supervise **supervise)
{
    struct supervise *s = *supervise;
    if (!s)
        return;
    for (size_t i = 0; i < s->arg_count; i++)
        free(s->args[i]);
    free(s->children);
    free(s);
    *supervise = NULL;
}
