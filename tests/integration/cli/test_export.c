/* Models on their way to a file: what replaces what, files that cannot be written and are tried again, and dp-ctl
 * export of a running job. */
#include "common/base/util.h"
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tensor/safetensors_peek.h"

TestSuite(export, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { RUN_MS = 60000 };

#define LISTEN "--listen", "tcp://127.0.0.1:0"
#define DIGITS "--model", "softmax", "--batch", "128", "--lr", "0.01", "--seed", "5"

static const char *digits(void)
{
    return source_file("tests/data/digits/train.csv.gz");
}

static const char *separable(void)
{
    return temp_text("separable.svm", "1 1:1.5 2:1\n-1 1:-2 2:1\n1 1:2.5 2:1\n-1 1:-3 2:1\n");
}

/* A job of `steps` steps with one local worker, to its end. */
#define TRAIN(model, steps, ...)                                                                           \
    RUN(RUN_MS, "dp-server", "--model", "logistic", LISTEN, "--local-workers", "1", "--data", separable(), \
        "--exit-when-done", "--steps", steps, "--export", model, __VA_ARGS__)

static char *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    char *text = calloc(1, 1 << 20);
    *ret_size = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    return text;
}

static size_t entries_of(const char *folder)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    cr_assert_not_null(dir);
    for (struct dirent *d; (d = readdir(dir));)
        n += d->d_name[0] != '.' || (d->d_name[1] && d->d_name[1] != '.');
    closedir(dir);
    return n;
}

static json_t *last_object(const char *out)
{
    size_t end = strlen(out);
    while (end && out[end - 1] == '\n')
        end--;
    size_t begin = end;
    while (begin && out[begin - 1] != '\n')
        begin--;
    json_t *object = json_loadb(out + begin, end - begin, 0, NULL);
    cr_assert(json_is_object(object), "the last line is no object: %s", out);
    return object;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "(none)";
}

/* ---- models that replace others ---- */

Test(export, a_finished_model_replaces_another)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *model = temp_path("m.st"), *again = temp_path("n.st");
    cr_assert_eq(TRAIN(model, "2", "--quiet").status, 0);
    cr_assert_eq(TRAIN(model, "7", "--quiet").status, 0);
    cr_assert_eq(TRAIN(again, "7", "--quiet").status, 0);
    models_assert_same(model, again);
}

/* A run that is stopped, with FILE as it is then. */
static const char *stopped_run(const char *model)
{
    struct process *server = PROCESS("dp-server", "--model", "logistic", LISTEN, "--local-workers", "1", "--data",
                                     separable(), "--epochs", "100000000", "--json", "--lr", "0.01", "--export", model);
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, RUN_MS), 143);
    json_t *end = last_object(process_output(server, OUT));
    cr_assert_str_eq(text_of(end, "event"), "stopped");
    cr_assert_str_eq(text_of(end, "reason"), "stopped by SIGTERM");
    cr_assert_eq(json_integer_value(json_object_get(end, "exit_code")), 143);
    cr_assert_gt(json_integer_value(json_object_get(end, "step")), 0);
    const char *path = temp_path(strrchr(text_of(end, "model"), '/') + 1);
    json_decref(end);
    return path;
}

Test(export, a_stopped_one_does_not_replace_a_finished_one)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    size_t before_size, size;
    const char *model = temp_path("m.st"), *stopped = temp_path("m.st.stopped");
    cr_assert_str_eq(stopped_run(model), model, "nothing was there");
    cr_assert_eq(safetensors_peek(model), MODEL_AT_UNFINISHED);
    cr_assert_str_eq(stopped_run(model), model, "one like it was there");
    cr_assert_eq(TRAIN(model, "5", "--quiet").status, 0);
    cr_assert_eq(safetensors_peek(model), MODEL_AT_FINISHED);
    char *before = read_file(model, &before_size);
    for (int i = 0; i < 2; i++)
        cr_assert_str_eq(stopped_run(model), stopped);
    cr_assert_eq(safetensors_peek(stopped), MODEL_AT_UNFINISHED);
    char *after = read_file(model, &size);
    cr_assert(size == before_size && memcmp(before, after, size) == 0, "the finished model has changed");
    free(before);
    free(after);
}

Test(export, nor_does_one_that_diverged)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char path[HARNESS_PATH_MAX + 16];
    const char *model = temp_path("m.st");
    snprintf(path, sizeof path, "%s.diverged", model);
    cr_assert_eq(TRAIN(model, "5", "--quiet").status, 0);
    struct run_result r = RUN(RUN_MS, "dp-server", "--model", "linear", LISTEN, "--local-workers", "1", "--data",
                              separable(), "--lr", "1e20", "--json", "--export", model);
    cr_assert_eq(r.status, 1, "%s", r.err);
    json_t *end = last_object(r.out);
    cr_assert_str_eq(text_of(end, "event"), "diverged");
    cr_assert_not_null(strstr(text_of(end, "reason"), "scale the features, or use a smaller --lr"), "%s", r.out);
    cr_assert_str_eq(text_of(end, "model"), path);
    json_decref(end);
    cr_assert_eq(safetensors_peek(model), MODEL_AT_FINISHED);
    cr_assert_eq(safetensors_peek(path), MODEL_AT_UNFINISHED);
}

/* The loss of the last step is measured before its update, which may be the one too many. */
Test(export, parameters_that_overflow_in_the_last_step)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *model = temp_path("m.st"), *data = temp_text("large", "1e15 1:1e15\n-1e15 1:-1e15\n");
    cr_assert_eq(TRAIN(model, "5", "--quiet").status, 0);
    struct run_result r = RUN(RUN_MS, "dp-server", "--model", "linear", LISTEN, "--local-workers", "1", "--data", data,
                              "--lr", "1e10", "--steps", "1", "--exit-when-done", "--json", "--export", model);
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "is no finite number, or its parameters are not"), "%s", r.err);
    json_t *end = last_object(r.out);
    cr_assert_str_eq(text_of(end, "event"), "diverged");
    json_decref(end);
    cr_assert_eq(safetensors_peek(model), MODEL_AT_FINISHED);
}

/* Rows of tables as well, also where no file is written that could be looked at. */
Test(export, rows_that_overflow_in_the_last_step)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_text("large", "1e15 1:1e15\n-1e15 1:-1e15\n");
    static const char *const MORE[] = {"--quiet", "--optimizer=adagrad", "--constraint=box=-1:1"};
    for (size_t i = 0; i < ARRAY_LEN(MORE); i++) {
        struct run_result r = RUN(RUN_MS, "dp-server", "--model", "linear", LISTEN, "--local-workers", "1", "--data",
                                  data, "--sparse", "--lr", "1e10", "--steps", "1", "--exit-when-done", MORE[i]);
        cr_assert_eq(r.status, 1, "%s: %s", MORE[i], r.err);
        cr_assert_not_null(strstr(r.err, "is no finite number, or its parameters are not"), "%s", r.err);
    }
}

/* Nor is what was learnt lost where the job fails. */
Test(export, of_a_job_that_failed)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *model = temp_path("m.st");
    struct process *server = SERVER(endpoint, "--model", "softmax", "--data-mode", "local", "--slots", "2",
                                    "--features", "64", "--classes", "10", "--epochs", "1000000", "--json",
                                    "--on-stall", "fail", "--stall-timeout", "1", "--lr", "0.001", "--export", model);
    struct process *workers[2];
    for (int i = 0; i < 2; i++)
        workers[i] = PROCESS("dp-worker", "--server", endpoint, "--data", digits());
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    process_signal(workers[0], SIGSTOP);
    int status = process_wait(server, RUN_MS);
    process_signal(workers[0], SIGCONT);
    cr_assert_eq(status, 1, "%s", process_output(server, ERR));
    json_t *end = last_object(process_output(server, OUT));
    cr_assert_str_eq(text_of(end, "event"), "failed");
    cr_assert_str_eq(text_of(end, "model"), model);
    json_decref(end);
    cr_assert_eq(safetensors_peek(model), MODEL_AT_UNFINISHED);
}

/* A file that is no model of dp may be somebody's only copy. */
Test(export, another_file_is_refused_at_once)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    size_t size;
    const char *notes = temp_text("notes", "my only copy"), *empty = temp_text("empty", "");
    struct run_result r = TRAIN(notes, "5", "--quiet");
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "option --export"), "%s", r.err);
    cr_assert_not_null(strstr(r.err, "no model of dp"), "%s", r.err);
    char *after = read_file(notes, &size);
    cr_assert_str_eq(after, "my only copy");
    free(after);
    cr_assert_eq(TRAIN(empty, "5", "--quiet").status, 0, "an empty file has nothing to lose");
}

Test(export, eval_and_predict_say_what_is_not_finished)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *model = temp_path("m.st"), *done = temp_path("d.st"), *commands[] = {"eval", "predict"};
    (void)stopped_run(model);
    cr_assert_eq(TRAIN(done, "5", "--quiet").status, 0);
    for (size_t i = 0; i < 2; i++) {
        struct run_result r = RUN(RUN_MS, "dp-worker", commands[i], "--model", model, "--data", separable());
        cr_assert_eq(r.status, 0, "%s", r.err);
        cr_assert_not_null(strstr(r.err, "m.st: this model is not finished"), "%s", r.err);
        r = RUN(RUN_MS, "dp-worker", commands[i], "--model", done, "--data", separable());
        cr_assert_eq(r.status, 0, "%s", r.err);
        cr_assert_null(strstr(r.err, "warning"), "%s", r.err);
    }
}

/* ---- room ---- */

/* A file system of 64 KiB, in a namespace of its own. */
Test(export, no_room_is_told_before_the_job)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char PROBE[] = "unshare -rm sh -c 'mount -t tmpfs -o size=64k none /mnt'";
    static const char SCRIPT[] =
        "mount -t tmpfs -o size=64k none /mnt && exec \"$0\" --model logistic --listen tcp://127.0.0.1:0 "
        "--local-workers 1 --data \"$1\" --features \"$2\" --steps 3 --exit-when-done --json --export /mnt/m.st";
    if (RUN(RUN_MS, "/bin/sh", "-c", PROBE).status != 0)
        cr_skip_test("no file system can be mounted here");
    struct run_result r = RUN(RUN_MS, "/usr/bin/unshare", "-rm", "/bin/sh", "-c", SCRIPT, program_path("dp-server"),
                              separable(), "100000");
    cr_assert_eq(r.status, 1, "%s", r.err);
    cr_assert_not_null(strstr(r.err, "option --export: /mnt/m.st: the model takes"), "%s", r.err);
    cr_assert_null(strstr(r.out, "\"event\":\"epoch\""), "%s", r.out);
    json_t *end = last_object(r.out);
    cr_assert_str_eq(text_of(end, "event"), "failed");
    json_decref(end);
    r = RUN(RUN_MS, "/usr/bin/unshare", "-rm", "/bin/sh", "-c", SCRIPT, program_path("dp-server"), separable(), "1000");
    cr_assert_eq(r.status, 0, "%s", r.err);
}

Test(export, a_folder_that_is_not_there)
{
    NEED_PROGRAMS("dp-server");
    struct run_result r = TRAIN("/no/such/folder/m.st", "3", "--quiet");
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "option --export: /no/such/folder/m.st"), "%s", r.err);
}

/* ---- tried again ---- */

/* A server whose export fails, as the folder goes away before the job is done. */
struct trouble {
    char endpoint[128];
    const char *folder, *away;
    char model[HARNESS_PATH_MAX];
    struct process *server;
};

static struct trouble trouble_begin(const char *timeout_s)
{
    struct trouble t = {.folder = temp_path("models"), .away = temp_path("away")};
    snprintf(t.model, sizeof t.model, "%s/m.st", t.folder);
    cr_assert_eq(mkdir(t.folder, 0700), 0);
    t.server = SERVER(t.endpoint, DIGITS, "--steps", "20", "--exit-when-done", "--json", "--export", t.model,
                      "--export-timeout", timeout_s);
    cr_assert_eq(rename(t.folder, t.away), 0);
    struct run_result r = RUN(RUN_MS, "dp-worker", "--server", t.endpoint, "--data", digits());
    cr_assert_eq(r.status, 0, "%s", r.err);
    return t;
}

Test(export, tries_again_until_it_can)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    struct trouble t = trouble_begin("600");
    const char *fetched = temp_path("fetched.st");
    process_expect(t.server, ERR, "trying again for", RUN_MS);
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", t.endpoint, "status", "--json");
    json_t *status = last_object(r.out), *export = json_object_get(status, "export");
    cr_assert_str_eq(text_of(status, "state"), "exporting");
    cr_assert_not_null(strstr(text_of(export, "reason"), "No such file or directory"), "%s", r.out);
    cr_assert_gt(json_number_value(json_object_get(export, "left_s")), 500);
    json_decref(status);
    r = RUN(RUN_MS, "dp-ctl", "--server", t.endpoint, "status");
    cr_assert_not_null(strstr(r.out, "the model to be written: "), "%s", r.out);
    r = RUN(RUN_MS, "dp-ctl", "--server", t.endpoint, "export", fetched);
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_not_null(strstr(r.out, "the finished model, of 20 training steps"), "%s", r.out);
    cr_assert_eq(rename(t.away, t.folder), 0);
    cr_assert_eq(process_wait(t.server, RUN_MS), 0);
    models_assert_same(t.model, fetched);
    json_t *end = last_object(process_output(t.server, OUT));
    cr_assert_str_eq(text_of(end, "event"), "done");
    cr_assert_str_eq(text_of(end, "model"), t.model);
    json_decref(end);
}

Test(export, gives_up_in_the_end)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const TIMEOUTS[] = {"2", "0"};
    for (size_t i = 0; i < 2; i++) {
        struct trouble t = trouble_begin(TIMEOUTS[i]);
        cr_assert_eq(process_wait(t.server, RUN_MS), 1);
        cr_assert_eq(strstr(process_output(t.server, ERR), "trying again") != NULL, i == 0);
        json_t *end = last_object(process_output(t.server, OUT));
        cr_assert_str_eq(text_of(end, "event"), "failed");
        cr_assert_not_null(strstr(text_of(end, "reason"), t.model), "%s", process_output(t.server, OUT));
        cr_assert_eq(json_integer_value(json_object_get(end, "step")), 20);
        cr_assert_eq(json_integer_value(json_object_get(end, "exit_code")), 1);
        json_decref(end);
        cr_assert_eq(rmdir(t.away), 0, "nothing was left");
    }
}

Test(export, a_signal_ends_the_tries)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct trouble t = trouble_begin("600");
    process_expect(t.server, ERR, "trying again for", RUN_MS);
    process_signal(t.server, SIGTERM);
    cr_assert_eq(process_wait(t.server, RUN_MS), 143);
    json_t *end = last_object(process_output(t.server, OUT));
    cr_assert_str_eq(text_of(end, "event"), "stopped");
    cr_assert_not_null(strstr(text_of(end, "reason"), "the model is not written"), "%s", process_output(t.server, OUT));
    cr_assert(json_is_null(json_object_get(end, "model")));
    json_decref(end);
}

/* ---- dp-ctl export ---- */

/* theta of one step, whichever that is. */
Test(export, of_a_running_job)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128], steps[32];
    const char *now = temp_path("now.st"), *there = temp_path("there.st"), *want = temp_path("want.st");
    struct process *server = SERVER(endpoint, DIGITS, "--steps", "100000000", "--json", "--shards", "3");
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", now);
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "there is no model yet"), "%s", r.err);
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", digits());
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "--json", "export", now);
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *told = last_object(r.out);
    snprintf(steps, sizeof steps, "%lld", (long long)json_integer_value(json_object_get(told, "train_step")));
    cr_assert(json_is_false(json_object_get(told, "complete")));
    json_decref(told);
    cr_assert_eq(safetensors_peek(now), MODEL_AT_UNFINISHED);
    r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", "--on-server", there);
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(safetensors_peek(there), MODEL_AT_UNFINISHED);
    process_signal(server, SIGTERM);
    (void)process_wait(server, RUN_MS);
    r = RUN(RUN_MS, "dp-server", DIGITS, LISTEN, "--steps", steps, "--local-workers", "1", "--data", digits(),
            "--exit-when-done", "--quiet", "--export", want);
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(now, want);
}

/* Many pieces, while workers share memory with the server; each fetch is whole. */
Test(export, of_a_large_running_job)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic", "--features", "3000000", "--steps", "100000000",
                                    "--json", "--lr", "0.001", "--shards", "2");
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", separable());
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    for (int i = 0; i < 6; i++) { /* more than go on at a time */
        struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", temp_path("large.st"));
        cr_assert_eq(r.status, 0, "%s", r.err);
    }
    struct stat st;
    cr_assert_eq(stat(temp_path("large.st"), &st), 0);
    cr_assert_gt(st.st_size, 4 * 3000001);
    struct run_result r = RUN(RUN_MS, "dp-worker", "eval", "--model", temp_path("large.st"), "--data", separable());
    cr_assert_eq(r.status, 0, "%s", r.err);
    process_expect_next(server, OUT, "\"event\":\"epoch\"", RUN_MS); /* it goes on */
}

/* Rows of a hashed table, and of one by columns. */
Test(export, of_a_job_with_a_table)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *model = temp_path("m.st"), *fetched = temp_path("fetched.st");
    struct process *server = SERVER(endpoint, "--model", "logistic", "--sparse", "--hash-bits", "10", "--steps", "20",
                                    "--shards", "2", "--export", model);
    struct run_result r = RUN(RUN_MS, "dp-worker", "--server", endpoint, "--data", separable());
    cr_assert_eq(r.status, 0, "%s", r.err);
    process_expect(server, ERR, "model written to", RUN_MS);
    r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", fetched);
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(model, fetched);
}

Test(export, dp_ctl_replaces_nothing_by_less)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *model = temp_path("m.st"), *notes = temp_text("notes", "my only copy");
    cr_assert_eq(TRAIN(model, "5", "--quiet").status, 0);
    struct process *server = SERVER(endpoint, DIGITS, "--steps", "100000000", "--json");
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", digits());
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    static const char *const WAYS[] = {"--on-server=off", "--on-server"};
    for (size_t i = 0; i < 2; i++) {
        struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", WAYS[i], model);
        cr_assert_eq(r.status, 1);
        cr_assert_not_null(strstr(r.err, "is a finished model"), "%s", r.err);
        r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", WAYS[i], notes);
        cr_assert_eq(r.status, 1);
        cr_assert_not_null(strstr(r.err, "no model of dp"), "%s", r.err);
        r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", WAYS[i], "/no/such/folder/m.st");
        cr_assert_eq(r.status, 1);
        cr_assert_not_null(strstr(r.err, "/no/such/folder/m.st"), "%s", r.err);
    }
    cr_assert_eq(safetensors_peek(model), MODEL_AT_FINISHED);
}

/* Anybody who reaches the port could have files written. */
Test(export, on_server_needs_a_network_that_is_closed)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *port = temp_path("port");
    struct process *server = PROCESS("dp-server", "--listen", "tcp://0.0.0.0:0", "--port-file", port, DIGITS, "--steps",
                                     "100000000", "--json", "--insecure", "--insecure-admin");
    const char *line = file_expect(port, server, RUN_MS);
    cr_assert_not_null(line);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1%s", strrchr(line, ':'));
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", digits());
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", "--on-server", temp_path("m.st"));
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "--on-server is refused"), "%s", r.err);
    r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", temp_path("m.st"));
    cr_assert_eq(r.status, 0, "%s", r.err);
}

Test(export, on_server_is_not_for_all_users)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, DIGITS, "--steps", "100000000", "--json", "--allow-users", "all");
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", digits());
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    struct run_result r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", "--on-server", temp_path("m.st"));
    cr_assert_eq(r.status, 1);
    cr_assert_not_null(strstr(r.err, "--on-server is refused where the server has --allow-users all"), "%s", r.err);
    r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "export", temp_path("m.st"));
    cr_assert_eq(r.status, 0, "%s", r.err);
}

Test(export, usage_of_dp_ctl_export)
{
    NEED_PROGRAMS("dp-ctl");
    cr_assert_eq(RUN(RUN_MS, "dp-ctl", "export").status, 2);
    cr_assert_eq(RUN(RUN_MS, "dp-ctl", "export", "a", "b").status, 2);
    cr_assert_eq(RUN(RUN_MS, "dp-ctl", "status", "--on-server").status, 2);
    cr_assert_eq(RUN(RUN_MS, "dp-ctl", "--server", "tcp://127.0.0.1:1", "export", temp_path("m")).status, 69);
}

/* A server that is killed leaves nothing beside FILE. */
Test(export, a_server_that_is_killed_leaves_nothing)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128], model[HARNESS_PATH_MAX];
    const char *folder = temp_path("models");
    snprintf(model, sizeof model, "%s/m.st", folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    struct process *server = SERVER(endpoint, DIGITS, "--steps", "100000000", "--json", "--export", model);
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", digits());
    process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
    process_signal(server, SIGKILL);
    cr_assert_eq(process_wait(server, RUN_MS), 128 + SIGKILL);
    cr_assert_eq(entries_of(folder), 0);
}
