/* A run as people and scripts see it: options from every source, the table on a terminal, plain lines, JSON lines,
 * quiet, and dp-ctl status. */
#include "common/base/util.h"
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

TestSuite(display, .init = harness_init, .fini = harness_fini, .timeout = 120);

enum { RUN_MS = 60000 };

#define JOB(data)                                                                                                   \
    "--model", "logistic", "--batch", "40", "--local-workers", "1", "--exit-when-done", "--data", data, "--listen", \
        "tcp://127.0.0.1:0"

static size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* The object of the line that begins at *at; moves on. */
static json_t *next_object(const char **at)
{
    size_t length = strcspn(*at, "\n");
    json_t *object = json_loadb(*at, length, 0, NULL);
    cr_assert(json_is_object(object), "no JSON object: %.*s", (int)length, *at);
    *at += length + 1;
    return object;
}

Test(display, plain_lines_and_a_summary)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_separable(), *model = temp_path("m.safetensors");
    struct run_result r = RUN(RUN_MS, "dp-server", JOB(data), "--epochs", "100", "--eval", data, "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_str_empty(r.out);
    cr_assert_null(strpbrk(r.err, "\r\x1b"), "%s", r.err);
    cr_assert_not_null(strstr(r.err, "eval acc"), "%s", r.err);
    cr_assert_not_null(strstr(r.err, "\n100/100 "), "%s", r.err);
    cr_assert_not_null(strstr(r.err, "eval accuracy 100.00%"), "%s", r.err);
    cr_assert_not_null(strstr(r.err, model), "%s", r.err);
    cr_assert_leq(lines_of(r.err), 32, "%s", r.err);
}

Test(display, a_table_on_a_terminal)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "/usr/bin/script");
    char command[3 * HARNESS_PATH_MAX];
    snprintf(command, sizeof command,
             "TERM=xterm script -qefc '%s --model logistic --batch 40 --epochs 100 --local-workers 1 --exit-when-done "
             "--data %s --listen tcp://127.0.0.1:0' /dev/null",
             program_path("dp-server"), temp_separable());
    struct run_result r = RUN(RUN_MS, "/bin/sh", "-c", command);
    cr_assert_eq(r.status, 0, "%s", r.out);
    cr_assert_not_null(strstr(r.out, "\r100/100 "), "%s", r.out);
    cr_assert_not_null(strstr(r.out, "\x1b[K"), "%s", r.out);
    cr_assert_leq(lines_of(r.out), 32, "%s", r.out);
}

Test(display, json_lines)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_separable();
    struct run_result r = RUN(RUN_MS, "dp-server", JOB(data), "--epochs", "30", "--eval", data, "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(lines_of(r.out), 32, "%s", r.out);
    const char *at = r.out;
    json_t *read = next_object(&at);
    cr_assert_str_eq(json_string_value(json_object_get(read, "event")), "data");
    cr_assert_eq(json_integer_value(json_object_get(read, "rows")), 40);
    cr_assert(json_is_null(json_object_get(read, "label_column")));
    json_decref(read);
    for (int epoch = 1; epoch <= 30; epoch++) {
        json_t *object = next_object(&at);
        cr_assert_str_eq(json_string_value(json_object_get(object, "event")), "epoch");
        cr_assert_eq(json_integer_value(json_object_get(object, "epoch")), epoch);
        cr_assert(json_is_real(json_object_get(object, "loss")) && json_is_real(json_object_get(object, "eval_loss")));
        json_decref(object);
    }
    json_t *done = next_object(&at);
    cr_assert_str_eq(json_string_value(json_object_get(done, "event")), "done");
    cr_assert_eq(json_number_value(json_object_get(done, "eval_accuracy")), 1);
    json_decref(done);
}

Test(display, quiet_is_quiet)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct run_result r = RUN(RUN_MS, "dp-server", JOB(temp_separable()), "--epochs", "3", "--quiet");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_str_empty(r.out);
    cr_assert_str_empty(r.err);
}

/* A variable that is misspelt is told, once, by the server and not by each of its workers. */
Test(display, quiet_hides_no_mistake)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const env[] = {"DP_EPOCH=3", NULL};
    const char *data = temp_separable();
    struct process *server = process_start_env(
        "dp-server", (const char *const[]){JOB(data), "--epochs", "3", "--quiet", "--log-level", "info", NULL}, env);
    cr_assert_eq(process_wait(server, RUN_MS), 0, "%s", process_output(server, ERR));
    const char *said = strstr(process_output(server, ERR), "environment DP_EPOCH: no option has this name");
    cr_assert_not_null(said, "%s", process_output(server, ERR));
    cr_assert_null(strstr(strchr(said, '\n'), "DP_EPOCH"), "%s", process_output(server, ERR));
    struct process *worker = process_start_env(
        "dp-worker", (const char *const[]){"eval", "--model", "/no/such", "--data", data, "--quiet", NULL}, env);
    cr_assert_eq(process_wait(worker, RUN_MS), 1);
    cr_assert_not_null(strstr(process_output(worker, ERR), "DP_EPOCH"), "%s", process_output(worker, ERR));
}

/* Somebody who left options out is told what came of it, and late workers are no trouble. */
Test(display, a_job_that_is_done_and_stays)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *data = temp_separable();
    struct process *server = SERVER(endpoint, "--model", "logistic", "--batch", "40", "--epochs", "2");
    for (int i = 0; i < 2; i++) {
        struct run_result r = RUN(RUN_MS, "dp-worker", "--server", endpoint, "--data", data);
        cr_assert_eq(r.status, 0, "%s", r.err);
        cr_assert_not_null(strstr(r.err, "the job is done"), "%s", r.err);
    }
    process_expect(server, ERR, "the model was not written: there was no --export", RUN_MS);
    process_expect(server, ERR, "--exit-when-done", RUN_MS);
    process_signal(server, SIGINT);
    cr_assert_eq(process_wait(server, RUN_MS), 0);
    cr_assert_null(strstr(process_output(server, ERR), "WARN"), "%s", process_output(server, ERR));
}

Test(display, a_job_that_diverges)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct run_result r =
        RUN(RUN_MS, "dp-server", "--model", "linear", "--local-workers", "1", "--exit-when-done", "--data",
            temp_separable(), "--listen", "tcp://127.0.0.1:0", "--lr", "1e20", "--epochs", "1000000", "--quiet");
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_eq(lines_of(r.err), 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "training diverged: the loss of training step "), "%s", r.err);
    cr_assert_not_null(strstr(r.err, "smaller --lr"), "%s", r.err);
}

/* Workers elsewhere, too, end for good: who looks after them must not start them again. */
Test(display, the_workers_of_a_job_that_diverges)
{
    char endpoint[128];
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct process *server = SERVER(endpoint, "--model", "linear", "--lr", "1e20", "--epochs", "1000000");
    struct run_result r = RUN(RUN_MS, "dp-worker", "--server", endpoint, "--data", temp_separable());
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "dp-worker: training diverged: the loss"), "%s", r.err);
    cr_assert_eq(process_wait(server, RUN_MS), 1);
}

Test(display, the_export_of_a_job_that_diverged_is_marked)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *path = temp_path("m.safetensors");
    struct run_result r = RUN(RUN_MS, "dp-server", "--model", "linear", "--local-workers", "1", "--data",
                              temp_separable(), "--listen", "tcp://127.0.0.1:0", "--lr", "1e20", "--export", path);
    char head[4096] = "";
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "the parameters that diverged are in"), "%s", r.err);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    size_t size = fread(head, 1, sizeof head, file);
    fclose(file);
    cr_assert_not_null(memmem(head, size, "\"diverged\":\"yes\"", strlen("\"diverged\":\"yes\"")));
}

/* Its loss is a double and finite, its gradient is not: the step's parameters would be infinite, and its end a success.
 */
Test(display, a_gradient_that_overflows_diverges)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("huge.csv", "label,x0\n1e30,1e30\n-1e30,1e30\n1e30,-1e30\n");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "linear", "--steps", "1", "--exit-when-done");
    struct run_result r = RUN(RUN_MS, "dp-worker", "--server", endpoint, "--data", data);
    cr_assert_not_null(strstr(r.err, "the gradient is not finite (element 0 of tensor 'weight' is "), "%s", r.err);
    cr_assert_eq(process_wait(server, RUN_MS), 1);
    const char *said = process_output(server, ERR);
    cr_assert_not_null(strstr(said, "training diverged: the loss of training step 0 "), "%s", said);
}

/* As when a session over ssh breaks; under nohup it is no matter. */
Test(display, a_terminal_that_is_lost)
{
    NEED_PROGRAMS("dp-server");
    static const struct {
        void (*handler)(int);
        int status;
    } CASES[] = {{SIG_DFL, 129}, {SIG_IGN, 143}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        signal(SIGHUP, CASES[i].handler); /* the server inherits that it is ignored */
        struct process *server = PROCESS("dp-server", "--model", "logistic", "--listen", "tcp://127.0.0.1:0");
        process_expect(server, ERR, "dp-worker --server tcp://", RUN_MS);
        process_signal(server, SIGHUP);
        if (CASES[i].status == 129)
            process_expect(server, ERR, "stopped by SIGHUP", RUN_MS);
        else
            process_signal(server, SIGTERM);
        cr_assert_eq(process_wait(server, RUN_MS), CASES[i].status);
    }
}

/* 0.0.0.0 means something else on the worker's machine. */
Test(display, the_endpoint_that_workers_elsewhere_need)
{
    NEED_PROGRAMS("dp-server");
    struct process *server = PROCESS("dp-server", "--model", "logistic", "--listen", "tcp://0.0.0.0:0", "--insecure",
                                     "--advertise", "head.example");
    process_expect(server, ERR, "dp-worker --server tcp://head.example:", RUN_MS);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, RUN_MS), 143);
    server = PROCESS("dp-server", "--model", "logistic", "--listen", "tcp://*:0", "--insecure");
    const char *line = process_expect(server, ERR, "dp-worker --server tcp://", RUN_MS);
    cr_assert_null(strstr(line, "--server tcp://[::]"), "%s", line);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, RUN_MS), 143);
}

/* The file says what to train, the environment how long, the command line beats both; local workers are not handed the
 * server's file. */
Test(display, options_from_every_source)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char file[HARNESS_PATH_MAX + 256], variable[HARNESS_PATH_MAX + 16];
    snprintf(file, sizeof file,
             "# a job\nmodel: logistic\nbatch: 40\nepochs: 7\nlocal-workers: 1\nseed: 5\n"
             "exit-when-done: on\ndata: %s\nlisten: tcp://127.0.0.1:0\n",
             temp_separable());
    snprintf(variable, sizeof variable, "DP_CONFIG=%s", temp_text("job.yaml", file));
    struct process *p = process_start_env("dp-server", (const char *const[]){"--json", "--batch", "20", NULL},
                                          (const char *const[]){variable, "DP_EPOCHS=2", NULL});
    cr_assert_eq(process_wait(p, RUN_MS), 0, "%s", process_output(p, ERR));
    const char *at = strstr(process_output(p, OUT), "{\"event\":\"done\"");
    cr_assert_not_null(at, "%s", process_output(p, OUT));
    json_t *done = next_object(&at);
    cr_assert_eq(json_integer_value(json_object_get(done, "epoch")), 2);
    cr_assert_eq(json_integer_value(json_object_get(done, "step")), 4);
    json_decref(done);
}

/* A server with local workers at a free port can be asked for its status too. */
Test(display, the_endpoint_of_a_job_with_local_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = PROCESS("dp-server", "--model", "logistic", "--local-workers", "1", "--data",
                                     temp_separable(), "--listen", "tcp://127.0.0.1:0");
    const char *line = process_expect(server, ERR, "listening on tcp://127.0.0.1:", RUN_MS);
    cr_assert_eq(sscanf(strstr(line, "tcp://"), "%127[^,], with 1 local worker", endpoint), 1, "%s", line);
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
    process_signal(server, SIGTERM);
    (void)process_wait(server, RUN_MS);
}

/* A script must not take a half for the whole. */
Test(display, help_that_cannot_be_written)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    static const char *const PROGRAMS[] = {"dp-server", "dp-worker", "dp-ctl"};
    char command[HARNESS_PATH_MAX + 64];
    for (size_t i = 0; i < sizeof PROGRAMS / sizeof *PROGRAMS; i++) {
        snprintf(command, sizeof command, "%s --help > /dev/full", program_path(PROGRAMS[i]));
        struct run_result r = RUN(RUN_MS, "/bin/sh", "-c", command);
        cr_assert_eq(r.status, 1, "%s: %s", PROGRAMS[i], r.err);
        cr_assert_not_null(strstr(r.err, "No space left"), "%s", r.err);
    }
}

/* --- dp-ctl --- */

Test(display, status_of_a_server_that_waits)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "softmax", "--shards", "2");
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_not_null(strstr(r.out, endpoint), "%s", r.out);
    cr_assert_not_null(strstr(r.out, ": waiting, up 0:0"), "%s", r.out);
    cr_assert_not_null(strstr(r.out, "shards: 2\n"), "%s", r.out);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, RUN_MS), 143);
}

/* A setting that the server has taken is told, or the exit code says that it was not. */
Test(display, answers_that_cannot_be_written)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    static const char *const COMMANDS[] = {"status", "set lr 0.01", "set consistency bsp --json"};
    char endpoint[128], command[HARNESS_PATH_MAX + 256];
    struct process *server = SERVER(endpoint, "--model", "logistic", "--epochs", "1000000000", "--lr", "0.01",
                                    "--local-workers", "1", "--data", temp_separable(), "--json");
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        snprintf(command, sizeof command, "%s --server %s %s > /dev/full", program_path("dp-ctl"), endpoint,
                 COMMANDS[i]);
        struct run_result r = RUN(RUN_MS, "/bin/sh", "-c", command);
        cr_assert_eq(r.status, 1, "%s: %s", COMMANDS[i], r.err);
        cr_assert_str_eq(r.err, "dp-ctl: cannot write to stdout: No space left on device\n", "%s", COMMANDS[i]);
    }
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, RUN_MS), 143);
}

Test(display, settings_that_are_no_numbers)
{
    NEED_PROGRAMS("dp-ctl");
    struct run_result r = RUN(RUN_MS, "dp-ctl", "set", "lr", "fast");
    cr_assert_eq(r.status, 2);
    cr_assert_str_eq(r.err, "dp-ctl: set lr: 'fast' is not a number\n");
    r = RUN(RUN_MS, "dp-ctl", "set", "lr", "1e400");
    cr_assert_eq(r.status, 2);
    cr_assert_str_eq(r.err, "dp-ctl: set lr: 1e400 is too large\n");
}

/* Asks until the job is done, each time as JSON; the last answer is the caller's. */
static json_t *status_when_done(const char *endpoint)
{
    for (;;) {
        struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--json", "status");
        cr_assert_eq(r.status, 0, "%s", r.err);
        cr_assert_eq(lines_of(r.out), 1);
        const char *at = r.out;
        json_t *status = next_object(&at);
        if (strcmp(json_string_value(json_object_get(status, "state")), "done") == 0)
            return status;
        json_decref(status);
    }
}

Test(display, status_of_a_job_that_is_done)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic", "--batch", "40", "--epochs", "5", "--seed",
                                    "18446744073709551615", "--quiet");
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", temp_separable());
    cr_assert_eq(process_wait(worker, RUN_MS), 0, "%s", process_output(worker, ERR));
    json_t *status = status_when_done(endpoint), *job = json_object_get(status, "job");
    cr_assert_eq(json_integer_value(json_object_get(job, "train_rows")), 40);
    cr_assert_eq(json_integer_value(json_object_get(job, "features")), 2);
    cr_assert_str_eq(json_string_value(json_object_get(job, "seed")), "18446744073709551615");
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(status, "progress"), "train_step")), 5);
    json_decref(status);
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_not_null(strstr(r.out, "progress   epoch 5 of 5, step 5 of 5 (100%)\n"), "%s", r.out);
    cr_assert_not_null(strstr(r.out, "seed 18446744073709551615\n"), "%s", r.out);
    process_signal(server, SIGTERM);
    cr_assert(process_ended(server, RUN_MS));
}

Test(display, the_port_of_a_shard)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic", "--shards", "2");
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--json", "status");
    const char *at = r.out;
    json_t *status = next_object(&at), *shard = json_array_get(json_object_get(status, "shards"), 0);
    r = RUN(RUN_MS, "dp-ctl", "--server", json_string_value(json_object_get(shard, "endpoint")), "status");
    cr_assert_not_null(strstr(r.err, "use that of dp-server --listen"), "%s", r.err);
    json_decref(status);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, RUN_MS), 143);
}

Test(display, a_server_that_is_not_there)
{
    NEED_PROGRAMS("dp-ctl");
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", "tcp://127.0.0.1:1", "status");
    cr_assert_eq(r.status, 69);
    cr_assert_str_eq(r.err,
                     "dp-ctl: cannot reach tcp://127.0.0.1:1: connection refused; is dp-server running there?\n");
    r = RUN(RUN_MS, "dp-ctl", "--server", "127.0.0.1", "status");
    cr_assert_eq(r.status, 2);
    r = RUN(RUN_MS, "dp-ctl", "statsu");
    cr_assert_eq(r.status, 2);
    r = RUN(RUN_MS, "dp-ctl", "--json");
    cr_assert_eq(r.status, 2);
}
