/* Output that nobody reads: a full pipe, a paused terminal, closed descriptors. The job goes on, signals are noticed,
 * the model is that of a run whose output was read, and a reader who comes late is told what is missing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/integration/support/fields.h"
#include "tests/integration/support/harness.h"

TestSuite(output, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { RUN_MS = 120000, SOON_MS = 15000, LOOK_MS = 200, COMMAND_MAX = 4 * HARNESS_PATH_MAX, PIPE_BYTES = 4096 };

/* A pipe with a name that is full, and that this process keeps open; its descriptor goes to *ret_fd. */
static const char *clogged(const char *name, int *ret_fd)
{
    static const char FILL[PIPE_BYTES] = "";
    const char *path = temp_path(name);
    cr_assert_eq(mkfifo(path, 0600), 0);
    *ret_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    cr_assert_geq(*ret_fd, 0);
    (void)fcntl(*ret_fd, F_SETPIPE_SZ, PIPE_BYTES);
    while (write(*ret_fd, FILL, sizeof FILL) > 0) {
    }
    cr_assert_eq(errno, EAGAIN);
    return path;
}

/* `program ARGS`, by a shell that redirects. */
__attribute__((format(printf, 2, 3))) static struct process *start(const char *program, const char *fmt, ...)
{
    char args[COMMAND_MAX], command[2 * COMMAND_MAX];
    va_list list;
    va_start(list, fmt);
    vsnprintf(args, sizeof args, fmt, list);
    va_end(list);
    snprintf(command, sizeof command, "exec %s %s", program_path(program), args);
    return PROCESS("/bin/sh", "-c", command);
}

#define JOB "--model logistic --batch 40 --listen tcp://127.0.0.1:0 --data %s "

/* The model of `epochs` whose output is read. */
static const char *quiet_model(const char *data, const char *epochs)
{
    const char *model = temp_path("quiet.st");
    struct run_result r =
        RUN(RUN_MS, "dp-server", "--model", "logistic", "--batch", "40", "--listen", "tcp://127.0.0.1:0", "--data",
            data, "--local-workers", "1", "--exit-when-done", "--epochs", epochs, "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return model;
}

Test(output, stderr_that_nobody_reads)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    int fd;
    const char *data = temp_separable(), *model = temp_path("m.st"), *pipe = clogged("err", &fd);
    struct process *server = start("dp-server",
                                   JOB "--local-workers 1 --exit-when-done --epochs 50 --log-level debug "
                                       "--export %s 2>%s",
                                   data, model, pipe);
    cr_assert_eq(process_wait(server, RUN_MS), 0);
    models_assert_same(model, quiet_model(data, "50"));
    close(fd);
}

Test(output, a_signal_while_nobody_reads)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    int err, out;
    const char *data = temp_separable(), *err_pipe = clogged("err", &err), *out_pipe = clogged("out", &out);
    const char *port = temp_path("port"), *model = temp_path("m.st");
    struct process *server = start("dp-server",
                                   JOB "--local-workers 1 --epochs 1000000000 --json --log-level debug --export %s "
                                       "--port-file %s >%s 2>%s",
                                   data, model, port, out_pipe, err_pipe);
    cr_assert_not_null(file_expect(port, server, RUN_MS));
    struct run_result r;
    do { /* until the pipe of --json is full of epochs, which the queue is as well soon after */
        cr_assert_not(process_ended(server, LOOK_MS));
        r = RUN(RUN_MS, "dp-ctl", "--server", file_expect(port, server, RUN_MS), "status");
        cr_assert_eq(r.status, 0, "%s", r.err);
    } while (!strstr(r.out, "epoch"));
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, SOON_MS), 143);
    cr_assert_eq(access(model, R_OK), 0);
    close(err);
    close(out);
}

/* All that there is in a pipe that was full, without what it was filled with, up to a line with `last`. */
static char *read_until(int fd, const char *last)
{
    size_t bytes = 0, room = 16 << 20;
    char *text = malloc(room);
    cr_assert_not_null(text);
    text[0] = '\0';
    uint64_t end_ms = mono_ms() + RUN_MS;
    while (!strstr(text + bytes - MIN(bytes, (size_t)8192), last)) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        cr_assert_lt(mono_ms(), end_ms, "no %s in %s", last, text + bytes - MIN(bytes, (size_t)1000));
        (void)poll(&item, 1, 100);
        char piece[PIPE_BYTES];
        ssize_t n = read(fd, piece, sizeof piece);
        for (ssize_t i = 0; i < n && bytes + 1 < room; i++)
            if (piece[i])
                text[bytes++] = piece[i];
        text[bytes] = '\0';
    }
    return text;
}

/* A reader who was away for all of the job finds the end of it, and a line that says how much is missing. */
Test(output, a_late_reader_of_json)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    enum { EPOCHS = 20000 };
    int fd;
    const char *port = temp_path("port"), *pipe = clogged("out", &fd);
    struct process *server = start("dp-server", JOB "--local-workers 1 --epochs %d --json --port-file %s >%s",
                                   temp_separable(), EPOCHS, port, pipe);
    const char *endpoint = file_expect(port, server, RUN_MS);
    cr_assert_not_null(endpoint);
    struct run_result r;
    do {
        cr_assert_not(process_ended(server, LOOK_MS));
        r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "status");
        cr_assert_eq(r.status, 0, "%s", r.err);
    } while (!strstr(r.out, ": done"));
    AUTOFREE char *text = read_until(fd, "{\"event\":\"done\"");
    struct fields_seen seen = {0};
    char buf[FIELDS_TEXT];
    const char *problem =
        fields_problem_output(&(struct fields_source){"dp-server", NULL}, strchr(text, '{'), &seen, buf);
    cr_assert(!problem, "%s", problem);
    long long epochs = 0, others = 0, left_out = 0;
    char *rest = strchr(text, '{');
    for (char *line; (line = strsep(&rest, "\n")) && rest;) { /* the last one may be a part */
        json_t *object = json_loads(line, 0, NULL);
        cr_assert(json_is_object(object), "%s", line);
        const char *event = json_string_value(json_object_get(object, "event"));
        epochs += strcmp(event, "epoch") == 0;
        others += strcmp(event, "data") == 0 || strcmp(event, "warning") == 0;
        left_out += json_integer_value(json_object_get(object, "lines"));
        json_decref(object);
    }
    cr_assert_gt(left_out, EPOCHS / 4);
    cr_assert_eq(epochs + others + left_out, EPOCHS + 1, "%lld + %lld + %lld", epochs, others, left_out);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, SOON_MS), 0);
    close(fd);
}

/* It takes 4 KiB every 0.1 s; the last line is not lost to it. */
Test(output, a_slow_reader_of_json)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char command[2 * COMMAND_MAX];
    snprintf(
        command, sizeof command,
        "%s " JOB "--local-workers 1 --exit-when-done --epochs 3000 --json |"
        " (exec 3>&1; while [ $(dd bs=4096 count=1 2>/dev/null | tee /dev/fd/3 | wc -c) -gt 0 ]; do sleep 0.1; done)",
        program_path("dp-server"), temp_separable());
    struct run_result r = RUN(RUN_MS, "/bin/sh", "-c", command);
    const char *last = strstr(r.out, "{\"event\":\"done\"");
    cr_assert_not_null(last, "%s", r.out + strlen(r.out) - MIN(strlen(r.out), (size_t)1000));
    cr_assert_str_empty(strchr(last, '\n') + 1);
}

/* The parent of the worker does not read its output. */
Test(output, a_worker_that_nobody_reads)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    int err, out;
    const char *data = temp_separable(), *err_pipe = clogged("err", &err), *out_pipe = clogged("out", &out);
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic", "--batch", "40", "--epochs", "50",
                                    "--exit-when-done", "--export", temp_path("m.st"));
    struct process *worker =
        start("dp-worker", "--server %s --data %s --json >%s 2>%s", endpoint, data, out_pipe, err_pipe);
    cr_assert_eq(process_wait(worker, RUN_MS), 0);
    cr_assert_eq(process_wait(server, RUN_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(temp_path("m.st"), quiet_model(data, "50"));
    close(err);
    close(out);
}

static uint64_t step_of(const char *endpoint)
{
    struct run_result r = RUN(SOON_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *status = json_loads(r.out, 0, NULL);
    json_int_t step = json_integer_value(json_object_get(json_object_get(status, "progress"), "step"));
    json_decref(status);
    return (uint64_t)step;
}

/* Ctrl-S, or ssh without its network. */
Test(output, a_paused_terminal)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    char name[128];
    cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    cr_assert_eq(ptsname_r(terminal, name, sizeof name), 0);
    const char *port = temp_path("port");
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC); /* so that the terminal is there while nobody has it */
    cr_assert_geq(slave, 0);
    cr_assert_eq(tcflow(slave, TCOOFF), 0); /* at once; the kernel reads a typed Ctrl-S when it has time */
    struct process *server = start("dp-server",
                                   JOB "--local-workers 1 --epochs 1000000000 --port-file %s --log-level debug "
                                       "--export %s 2>%s",
                                   temp_separable(), port, temp_path("m.st"), name);
    const char *endpoint = file_expect(port, server, RUN_MS);
    cr_assert_not_null(endpoint);
    struct pollfd item = {.fd = terminal, .events = POLLIN};
    uint64_t begin_ms = mono_ms();
    while (step_of(endpoint) < 3000)
        cr_assert_lt(mono_ms() - begin_ms, (uint64_t)RUN_MS, "the job stands still");
    while (mono_ms() - begin_ms < 2000) /* 20 drawings */
        (void)step_of(endpoint);
    cr_assert_eq(poll(&item, 1, 0), 0, "the terminal was not paused");
    cr_assert_eq(tcflow(slave, TCOON), 0);
    cr_assert_eq(fcntl(terminal, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    free(read_until(terminal, "listening on tcp://"));
    process_signal(server, SIGTERM);
    free(read_until(terminal, "the parameters so far"));
    cr_assert_eq(process_wait(server, SOON_MS), 143);
    close(slave);
    close(terminal);
}

/* A descriptor that is closed is not taken by a file of ours, in which lines would end. */
Test(output, closed_descriptors)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_separable(), *port = temp_path("port"), *model = temp_path("m.st");
    struct process *server = start("dp-server",
                                   JOB "--local-workers 1 --exit-when-done --epochs 50 --log-level debug --json "
                                       "--port-file %s --export %s <&- >&- 2>&-",
                                   data, port, model);
    cr_assert_eq(process_wait(server, RUN_MS), 1); /* objects of --json are lost */
    models_assert_same(model, quiet_model(data, "50"));
    char line[256] = "";
    FILE *file = fopen(port, "r");
    cr_assert_not_null(file);
    size_t n = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    cr_assert_eq(strncmp(line, "tcp://127.0.0.1:", 16), 0);
    cr_assert_eq(strcspn(line, "\n") + 1, n, "more than the endpoint: %s", line);
}
