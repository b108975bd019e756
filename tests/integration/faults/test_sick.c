/* Workers that hang while their heartbeats go on: real programs, whose computing takes a day a slot. Jobs come to their
 * end in minutes with the bits of a quiet run, where each step would wait for a stall time-out or for ever. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/util.h"
#include "tests/integration/support/harness.h"

TestSuite(sick, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum { CASE_MS = 120000 };

#define TRAIN "tests/data/digits/train.csv.gz"
/* 240 steps and some evaluations of 8 slots. The stall time-out is longer than a case may take: nothing waits for it.
 */
#define JOB                                                                                                   \
    "--model", "softmax", "--batch", "320", "--slots", "8", "--steps", "240", "--lr", "0.002", "--seed", "7", \
        "--exit-when-done", "--json", "--log-level", "info", "--min-workers", "2", "--stall-timeout", "3600"

static struct process *worker(const char *endpoint, const char *name, const char *slot_ms)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file(TRAIN), "--eval",
                   source_file("tests/data/digits/test.csv.gz"), "--name", name, "--emulate-slot-ms", slot_ms);
}

static struct process *hung(const char *endpoint, const char *name)
{
    return worker(endpoint, name, "86400000");
}

static void expect_done(struct process *server)
{
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    const char *done = strstr(process_output(server, OUT), "{\"event\":\"done\"");
    cr_assert_not_null(done, "%s", process_output(server, OUT));
    cr_assert_not_null(strstr(done, "\"step\":240,"), "%s", done);
}

static void assert_never(struct process *server, const char *text)
{
    const char *said = process_output(server, ERR);
    cr_assert_null(strstr(said, text), "%s: %s", text, said);
}

/* A job of 2 good workers and `sick` hung ones, from the start or when an epoch is over, with some options; the model.
 */
static const char *run_beside(int sick, bool from_start, const char *const options[2], const char *name)
{
    static const char *const NAMES[] = {"h1", "h2", "h3", "h4", "h5", "h6"};
    char endpoint[128];
    const char *model = temp_path(name);
    struct process *server = SERVER(endpoint, JOB, "--export", model, options[0], options[1]);
    for (int i = 0; i < sick && from_start; i++)
        (void)hung(endpoint, NAMES[i]);
    (void)worker(endpoint, "a", "2");
    (void)worker(endpoint, "b", "2");
    if (!from_start)
        process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    for (int i = 0; i < sick && !from_start; i++)
        (void)hung(endpoint, NAMES[i]);
    expect_done(server);
    assert_never(server, "stall step=");
    assert_never(server, "worker-lost");
    return model;
}

/* In the attack, 6 hung workers took the job from 48 to 0.03 steps a second. */
Test(sick, hung_workers_beside_good_ones)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const BSP[] = {"--consistency", "bsp"}, *const TWO_SHARDS[] = {"--shards", "2"};
    const char *quiet = run_beside(0, true, BSP, "quiet");
    models_assert_same(quiet, run_beside(1, false, BSP, "one"));
    models_assert_same(quiet, run_beside(2, true, BSP, "two"));
    models_assert_same(quiet, run_beside(6, true, BSP, "six"));
    models_assert_same(quiet, run_beside(4, false, TWO_SHARDS, "four"));
}

/* Commits on arrival, and steps whose slowest slot may be dropped. */
Test(sick, hung_workers_in_other_modes)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const MODES[][2] = {
        {"--consistency", "ssp:2"}, {"--consistency", "async"}, {"--drop-slowest", "1"}, {"--balance", "off"}};
    for (size_t i = 0; i < ARRAY_LEN(MODES); i++)
        for (int sick = 1; sick <= 4; sick += 3)
            (void)run_beside(sick, sick == 4, MODES[i], "model");
}

Test(sick, hung_workers_beside_a_table)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = temp_path("rows.svm"), *models[2];
    FILE *out = fopen(data, "w");
    cr_assert_not_null(out);
    for (int i = 0; i < 640; i++)
        fprintf(out, "%d %d:1 %d:1 %d:0.5\n", i % 3 ? 1 : -1, 1 + i % 7, 10 + i % 11, 30 + i % 101);
    fclose(out);
    for (int sick = 0; sick < 2; sick++) {
        char endpoint[128];
        models[sick] = temp_path(sick ? "sick.safetensors" : "quiet.safetensors");
        struct process *server = SERVER(endpoint, "--model", "logistic", "--sparse", "--batch", "64", "--slots", "8",
                                        "--steps", "240", "--lr", "0.01", "--exit-when-done", "--json", "--min-workers",
                                        "2", "--stall-timeout", "3600", "--export", models[sick]);
        for (int i = 0; i < 2 + 3 * sick; i++)
            (void)PROCESS("dp-worker", "--server", endpoint, "--data", data, "--emulate-slot-ms",
                          i < 2 ? "2" : "86400000");
        expect_done(server);
    }
    models_assert_same(models[0], models[1]);
}

/* Without copies of late slots the step waits for the stall time-out, once for each worker that hangs. */
Test(sick, without_speculation_a_hung_worker_stalls_one_step)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "softmax", "--batch", "320", "--slots", "8", "--steps", "240",
                                    "--lr", "0.002", "--exit-when-done", "--json", "--min-workers", "3", "--speculate",
                                    "off", "--stall-timeout", "2", "--log-level", "info");
    (void)hung(endpoint, "h");
    (void)worker(endpoint, "a", "2");
    (void)worker(endpoint, "b", "2");
    const char *line = process_expect(server, ERR, "stall step=0 ", CASE_MS);
    cr_assert_not_null(strstr(line, "owed_by=\"h\""), "%s", line);
    expect_done(server);
    const char *said = strstr(process_output(server, ERR), "stall step=0 ");
    cr_assert_null(strstr(said + 1, "stall step="), "%s", said);
}

/* A worker that is frozen is left out, and works again when it goes on. */
Test(sick, a_worker_that_wakes_up_works_again)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--batch", "320", "--slots", "8", "--steps", "1000000", "--lr", "1e-6",
               "--json", "--log-level", "info", "--min-workers", "3", "--stall-timeout", "3600", "--lease", "3600");
    (void)worker(endpoint, "a", "2");
    (void)worker(endpoint, "b", "2");
    struct process *sleeper = worker(endpoint, "c", "2");
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    process_signal(sleeper, SIGSTOP);
    process_expect(server, ERR, "worker-late worker=\"c\"", CASE_MS);
    const char *line = process_expect(server, ERR, "worker-hung worker=\"c\"", CASE_MS);
    cr_assert_not_null(strstr(line, "its slots go to others"), "%s", line);
    cr_assert_not_null(strstr(line, "reason=\"nothing comes from it, not even heartbeats\""), "%s", line);
    struct run_result status = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    cr_assert_not_null(strstr(status.out, "\"state\":\"hung\""), "%s", status.out);
    process_signal(sleeper, SIGCONT);
    process_expect(server, ERR, "worker-delivers-again worker=\"c\"", CASE_MS);
    status = RUN(CASE_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    cr_assert_null(strstr(status.out, "\"state\":\"hung\""), "%s", status.out);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGTERM);
    assert_never(server, "worker-lost");
}

/* The warning tells a worker that hangs from one that is frozen or cut off. */
Test(sick, heartbeats_of_a_hung_worker_are_told)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--batch", "320", "--slots", "8", "--steps", "1000000", "--lr", "1e-6",
               "--json", "--log-level", "info", "--stall-timeout", "3600");
    (void)worker(endpoint, "a", "2");
    process_expect(server, OUT, "\"event\":\"epoch\"", CASE_MS);
    (void)hung(endpoint, "h");
    const char *line = process_expect(server, ERR, "worker-hung worker=\"h\"", CASE_MS);
    cr_assert_not_null(strstr(line, "reason=\"its heartbeats come, its slots do not\""), "%s", line);
}

/* ---- workers with data of their own ---- */

#define FREE_JOB                                                                                                   \
    "--model", "free", "--slots", "3", "--lr", "0.01", "--log-level", "info", "--exit-when-done", "--min-workers", \
        "1", "--lease", "3600"

static struct process *client(const char *endpoint, const char *name, const char *minibatches)
{
    return PROCESS(FREE_CLIENT, endpoint, name, minibatches, "1", "1", "1000");
}

/* The others go on without its data once it has had its time, and it comes back when it wakes up. */
Test(sick, a_client_with_its_own_data_is_given_up)
{
    NEED_PROGRAMS("dp-server");
    char endpoint[128];
    struct process *server = SERVER(endpoint, FREE_JOB, "--stall-timeout", "2");
    struct process *a = client(endpoint, "a", "1000000"), *b = client(endpoint, "b", "1000000"),
                   *c = client(endpoint, "c", "1000000");
    process_expect(c, OUT, "step 3 ", CASE_MS);
    process_signal(c, SIGSTOP);
    const char *line = process_expect(server, ERR, "stall step=", CASE_MS);
    cr_assert_not_null(strstr(line, "owed_by=\"c\""), "%s", line);
    cr_assert_not_null(strstr(line, "given up: the others go on without its data"), "%s", line);
    line = process_expect(server, ERR, "worker-lost worker=\"c\"", CASE_MS);
    cr_assert_not_null(strstr(line, "it delivered nothing for "), "%s", line);
    cr_assert_not_null(strstr(line, ", last heard of "), "%s", line);
    cr_assert_not_null(strstr(line, "its slot is void, nobody else has its data"), "%s", line);
    line = process_expect(server, ERR, "rank-void ", CASE_MS);
    cr_assert_not_null(strstr(line, "worker=\"c\""), "%s", line);
    process_expect(server, ERR, "stall-over step=", CASE_MS);
    process_signal(c, SIGCONT);
    process_expect_next(server, ERR, "rank worker=\"c\"", CASE_MS);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGTERM);
    const char *said = process_output(server, ERR);
    cr_assert_null(strstr(said, "worker-lost worker=\"a\""), "%s", said);
    cr_assert_null(strstr(said, "worker-lost worker=\"b\""), "%s", said);
    (void)a, (void)b;
}

/* If all owe, the step is long for all: nobody is given up, and the report says what is waited for. */
Test(sick, when_all_with_their_own_data_hang_none_is_given_up)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--data-mode", "local", "--features", "64", "--classes", "10", "--slots",
               "2", "--lr", "0.002", "--epochs", "1", "--stall-timeout", "1");
    static const char *const NAMES[] = {"a", "b"};
    for (int i = 0; i < 2; i++)
        (void)PROCESS("dp-worker", "--server", endpoint, "--data", source_file(TRAIN), "--name", NAMES[i],
                      "--emulate-slot-ms", "86400000");
    for (int i = 0; i < 4; i++) {
        const char *line = process_expect_next(server, ERR, "stall step=0 ", CASE_MS);
        cr_assert_not_null(strstr(line, "waiting: nobody else has its data"), "%s", line);
    }
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 128 + SIGTERM);
    assert_never(server, "worker-lost");
}

/* All hang: the report says so, and who comes later does the work. */
Test(sick, when_all_workers_hang_one_that_comes_does_the_work)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--batch", "320", "--slots", "8", "--steps", "240", "--lr", "0.002",
               "--exit-when-done", "--json", "--log-level", "info", "--stall-timeout", "2");
    (void)hung(endpoint, "h1");
    (void)hung(endpoint, "h2");
    process_expect(server, ERR, "stall step=0 ", CASE_MS);
    (void)worker(endpoint, "a", "2");
    expect_done(server);
}
