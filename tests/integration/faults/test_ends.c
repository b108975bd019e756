/* --json ends with one object in every case, and nothing comes behind it; warnings about training that goes nowhere. */
#include "common/base/util.h"
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

TestSuite(ends, .init = harness_init, .fini = harness_fini, .timeout = 240);

enum { RUN_MS = 60000 };

#define LOCAL(data) "--listen", "tcp://127.0.0.1:0", "--local-workers", "1", "--data", data, "--exit-when-done"

static const char *separable(void)
{
    return temp_text("separable.svm", "1 1:1.5 2:1\n-1 1:-2 2:1\n1 1:2.5 2:1\n-1 1:-3 2:1\n");
}

struct end {
    const char *event, *reason; /* part of it; NULL: there is none */
    int exit_code;
};

static bool is_end(const json_t *object)
{
    static const char *const ENDS[] = {"done", "stopped", "diverged", "failed"};
    const char *event = json_string_value(json_object_get(object, "event"));
    for (size_t i = 0; i < ARRAY_LEN(ENDS); i++)
        if (event && strcmp(event, ENDS[i]) == 0)
            return true;
    return false;
}

static void assert_end(const char *what, const json_t *object, const struct end *want)
{
    const char *reason = json_string_value(json_object_get(object, "reason"));
    cr_expect_str_eq(json_string_value(json_object_get(object, "event")), want->event, "%s", what);
    cr_expect_eq(json_integer_value(json_object_get(object, "exit_code")), want->exit_code, "%s", what);
    cr_expect(want->reason ? reason && strstr(reason, want->reason) : json_is_null(json_object_get(object, "reason")),
              "%s: %s", what, reason);
}

/* Every line is an object, and the last one alone is an end. */
static void check(const char *what, int status, const char *out, const struct end *want)
{
    size_t ends = 0;
    cr_expect_eq(status, want->exit_code, "%s: %d", what, status);
    cr_expect(*out, "%s: nothing was told", what);
    for (const char *at = out; *at;) {
        size_t length = strcspn(at, "\n");
        json_t *object = json_loadb(at, length, 0, NULL);
        cr_assert(json_is_object(object), "%s: no object: %.*s", what, (int)length, at);
        ends += is_end(object);
        at += length + (at[length] == '\n');
        if (!*at)
            assert_end(what, object, want);
        json_decref(object);
    }
    cr_expect_eq(ends, 1, "%s: %zu ends in %s", what, ends, out);
}

static void check_run(const char *what, struct run_result r, const struct end *want)
{
    check(what, r.status, r.out, want);
}

Test(ends, a_job_that_is_done)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const struct end want = {"done", NULL, 0};
    check_run("done",
              RUN(RUN_MS, "dp-server", "--model", "logistic", LOCAL(separable()), "--json", "--export", temp_path("m")),
              &want);
}

/* A server without --exit-when-done goes on until a signal, and its job is done all the same. */
Test(ends, a_job_that_was_done_before_the_signal)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const struct end want = {"done", NULL, 0};
    struct process *server = PROCESS("dp-server", "--model", "logistic", "--listen", "tcp://127.0.0.1:0",
                                     "--local-workers", "1", "--data", separable(), "--json");
    process_expect(server, OUT, "\"event\":\"done\"", RUN_MS);
    process_signal(server, SIGTERM);
    int status = process_wait(server, RUN_MS);
    check("done, then SIGTERM", status, process_output(server, OUT), &want);
}

Test(ends, signals)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const struct {
        int number;
        struct end want;
    } CASES[] = {{SIGINT, {"stopped", "stopped by SIGINT", 130}},
                 {SIGTERM, {"stopped", "stopped by SIGTERM", 143}},
                 {SIGHUP, {"stopped", "stopped by SIGHUP", 129}}};
    signal(SIGHUP, SIG_DFL);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct process *server = PROCESS("dp-server", "--model", "logistic", LOCAL(separable()), "--json", "--epochs",
                                         "100000000", "--lr", "0.01");
        process_expect(server, OUT, "\"event\":\"epoch\"", RUN_MS);
        process_signal(server, CASES[i].number);
        int status = process_wait(server, RUN_MS);
        check(CASES[i].want.reason, status, process_output(server, OUT), &CASES[i].want);
    }
}

/* Before any worker has come. */
Test(ends, a_signal_before_the_job)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    const struct end want = {"stopped", "stopped by SIGTERM", 143};
    struct process *server = SERVER(endpoint, "--model", "logistic", "--json");
    process_signal(server, SIGTERM);
    int status = process_wait(server, RUN_MS);
    check("waiting", status, process_output(server, OUT), &want);
}

Test(ends, a_job_that_diverges)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const struct end want = {"diverged", "scale the features, or use a smaller --lr", 1};
    check_run("diverged", RUN(RUN_MS, "dp-server", "--model", "linear", LOCAL(separable()), "--json", "--lr", "1e20"),
              &want);
}

Test(ends, failures)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    (void)SERVER(endpoint, "--model", "logistic");
    const char *bad = temp_text("bad.svm", "1 1:1\n0 2:x\n"), *notes = temp_text("notes", "mine");
#define SERVER_RUN(...) RUN(RUN_MS, "dp-server", __VA_ARGS__, "--json")
    check_run("bad data", SERVER_RUN("--model", "logistic", LOCAL(bad)), &(struct end){"failed", "bad.svm:2", 1});
    check_run("no data", SERVER_RUN("--model", "logistic", LOCAL("/no/such/file")),
              &(struct end){"failed", "/no/such/file", 1});
    check_run("port", SERVER_RUN("--model", "logistic", "--listen", endpoint), &(struct end){"failed", endpoint, 1});
    check_run("export", SERVER_RUN("--model", "logistic", "--listen", "tcp://127.0.0.1:0", "--export", notes),
              &(struct end){"failed", "no model of dp", 1});
    check_run("unknown option", SERVER_RUN("--bogus"), &(struct end){"failed", "--bogus", 2});
    check_run("before --json", RUN(RUN_MS, "dp-server", "--json", "--bogus"), &(struct end){"failed", "--bogus", 2});
    check_run("no model", SERVER_RUN("--lr", "1"), &(struct end){"failed", "--model is missing", 2});
    check_run("bad value", SERVER_RUN("--lr", "x"), &(struct end){"failed", "--lr", 2});
    check_run(
        "descriptors",
        RUN(RUN_MS, "/bin/sh", "-c", "ulimit -n 20; exec \"$0\" --model linear --json", program_path("dp-server")),
        &(struct end){"failed", "files may be open", 1});
    struct run_result r = RUN(RUN_MS, "dp-server", "--bogus", "--json=off");
    cr_expect_eq(r.status, 2);
    cr_expect_str_empty(r.out);
}

Test(ends, the_environment_asks_for_json)
{
    NEED_PROGRAMS("dp-server");
    const struct end want = {"failed", "--bogus", 2};
    struct process *p = process_start_env("dp-server", (const char *const[]){"--bogus", NULL},
                                          (const char *const[]){"DP_JSON=on", NULL});
    int status = process_wait(p, RUN_MS);
    check("environment", status, process_output(p, OUT), &want);
}

/* theta does not fit. */
Test(ends, no_memory_for_theta)
{
#if defined(__SANITIZE_ADDRESS__)
    cr_skip_test("AddressSanitizer reserves more address space than this leaves");
#endif
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char SCRIPT[] = "ulimit -v 2500000; exec \"$0\" --listen tcp://127.0.0.1:0 --model logistic --json "
                                 "--features 1000000000 --shm off --local-workers 1 --data \"$1\"";
    check_run("theta", RUN(RUN_MS, "/bin/sh", "-c", SCRIPT, program_path("dp-server"), separable()),
              &(struct end){"failed", "1000000001 parameters need", 1});
}

/* ---- dp-worker ---- */

Test(ends, of_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *data = separable(), *model = temp_path("m.st"), *bad = temp_text("bad.svm", "1 1:1\n0 2:x\n");
    struct run_result r = RUN(RUN_MS, "dp-server", "--model", "logistic", LOCAL(data), "--quiet", "--export", model);
    cr_assert_eq(r.status, 0, "%s", r.err);
#define WORKER(...) RUN(RUN_MS, "dp-worker", __VA_ARGS__, "--json")
    check_run("eval", WORKER("eval", "--model", model, "--data", data), &(struct end){"done", NULL, 0});
    check_run("eval of bad data", WORKER("eval", "--model", model, "--data", bad),
              &(struct end){"failed", "bad.svm:2", 1});
    check_run("eval without", WORKER("eval", "--data", data), &(struct end){"failed", "--model", 2});
    check_run("predict to a file", WORKER("predict", "--model", model, "--data", data, "--output", temp_path("p")),
              &(struct end){"done", NULL, 0});
    check_run("predict of bad data", WORKER("predict", "--model", model, "--data", bad),
              &(struct end){"failed", "bad.svm:2", 1});
    check_run("unknown", WORKER("--bogus"), &(struct end){"failed", "--bogus", 2});
    check_run("nobody there", WORKER("--server", "tcp://127.0.0.1:1", "--data", data, "--connect-timeout", "1"),
              &(struct end){"failed", "tcp://127.0.0.1:1", 69});
    struct process *server = SERVER(endpoint, "--model", "logistic", "--exit-when-done");
    check_run("bad data", WORKER("--server", endpoint, "--data", bad), &(struct end){"failed", "bad.svm:2", 1});
    check_run("train", WORKER("--server", endpoint, "--data", data), &(struct end){"done", NULL, 0});
    (void)process_wait(server, RUN_MS);
    server = SERVER(endpoint, "--model", "linear", "--lr", "1e20", "--epochs", "1000000");
    check_run("diverged", WORKER("--server", endpoint, "--data", data), &(struct end){"diverged", "diverged", 1});
    (void)process_wait(server, RUN_MS);
}

Test(ends, of_workers_by_signals)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    static const struct {
        int number;
        struct end want;
    } CASES[] = {{SIGINT, {"stopped", "stopped by SIGINT", 130}},
                 {SIGTERM, {"stopped", "stopped by SIGTERM", 143}},
                 {SIGHUP, {"stopped", "stopped by SIGHUP", 129}}};
    (void)SERVER(endpoint, "--model", "logistic", "--epochs", "100000000", "--lr", "0.01");
    signal(SIGHUP, SIG_DFL);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", separable(), "--json");
        process_expect(worker, OUT, "\"event\":\"joined\"", RUN_MS);
        process_signal(worker, CASES[i].number);
        int status = process_wait(worker, RUN_MS);
        check(CASES[i].want.reason, status, process_output(worker, OUT), &CASES[i].want);
    }
}

/* ---- warnings ---- */

/* Income and age: classes that overlap, and columns of other scales. */
static const char *people(void)
{
    static char text[16384];
    size_t at = (size_t)snprintf(text, sizeof text, "label,income,age\n");
    for (int i = 0; i < 200; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d,%d,%d\n", i % 5 < 3, 10000 + i * 7919 % 990000,
                               18 + i * 31 % 62);
    return temp_text("people.csv", text);
}

Test(ends, training_that_goes_nowhere_is_told)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct run_result r = RUN(RUN_MS, "dp-server", "--model", "logistic", LOCAL(people()), "--epochs", "50");
    cr_assert_eq(r.status, 0, "%s", r.err);
    static const char *const TOLD[] = {"differ by orders of magnitude in scale", "scale the features, or use a smaller",
                                       "is above that of a model of zeros, 0.69315"};
    for (size_t i = 0; i < ARRAY_LEN(TOLD); i++)
        cr_expect_not_null(strstr(r.err, TOLD[i]), "%s", r.err);
    r = RUN(RUN_MS, "dp-server", "--model", "logistic", LOCAL(people()), "--epochs", "50", "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    static const char *const KINDS[] = {"\"kind\":\"scales\"", "\"kind\":\"above-zero\"", "WARN"};
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++)
        cr_expect_not_null(strstr(i < 2 ? r.out : r.err, KINDS[i]), "%s\n%s", r.out, r.err);
    check_run("done with warnings", r, &(struct end){"done", NULL, 0});
}

/* Labels that nothing explains. */
Test(ends, a_model_that_is_no_better_than_the_majority)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char text[4096];
    size_t at = 0;
    for (int i = 0; i < 200; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d 1:%d\n", i % 4 ? 1 : -1, i % 2 ? 1 : -1);
    const char *data = temp_text("coins.svm", text);
    struct run_result r = RUN(RUN_MS, "dp-server", "--model", "logistic", LOCAL(data), "--eval", data);
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect_not_null(strstr(r.err, "75.00% is no better than that of always answering the most frequent label"), "%s",
                       r.err);
    cr_expect_not_null(strstr(r.err, "balance of the classes"), "%s", r.err);
}

Test(ends, the_status_has_the_warnings)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "logistic", "--epochs", "20");
    struct run_result r = RUN(RUN_MS, "dp-worker", "--server", endpoint, "--data", people(), "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect_not_null(strstr(r.out, "\"event\":\"warning\""), "%s", r.out);
    cr_expect_not_null(strstr(r.err, "dp-worker: warning: "), "%s", r.err);
    process_expect(server, ERR, "is above that of a model of zeros", RUN_MS);
    r = RUN(RUN_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    cr_expect_not_null(strstr(r.out, "\"warnings\":[\"columns of "), "%s", r.out);
    cr_expect_not_null(strstr(r.out, "is above that of a model of zeros"), "%s", r.out);
}

/* Good runs are not doubted: those of README.md and of the quickstart, and others that anybody would begin with. */
Test(ends, no_false_alarms)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *a9a = shared_file("data/a9a"), *agaricus = shared_file("data/agaricus.train");
    const char *train = source_file("tests/data/digits/train.csv.gz"),
               *test = source_file("tests/data/digits/test.csv.gz");
    struct run_result r = RUN(RUN_MS, "dp-server", "--model", "softmax", LOCAL(train), "--eval", test, "--batch", "128",
                              "--epochs", "30", "--optimizer", "momentum", "--lr", "0.001", "--l2", "0.05", "--quiet");
    cr_expect_str_empty(r.err, "%s", r.err);
    static const char *const RULES[][4] = {{"momentum", "0.1", "10"}, {"sgd", "0.1", "1"},       {"sgd", "0.1", "10"},
                                           {"adam", "0.001", "10"},   {"adagrad", "0.01", "10"}, {"ftrl", "0.1", "3"}};
    for (size_t i = 0; a9a && agaricus && i < 2 * ARRAY_LEN(RULES); i++) {
        const char *const *rule = RULES[i / 2];
        r = RUN(RUN_MS, "dp-server", "--model", "logistic", LOCAL(i % 2 ? a9a : agaricus), "--optimizer", rule[0],
                "--lr", rule[1], "--epochs", rule[2], "--l2", "1e-5", "--quiet");
        cr_expect_eq(r.status, 0);
        cr_expect_str_empty(r.err, "%s %s: %s", rule[0], rule[2], r.err);
    }
}
