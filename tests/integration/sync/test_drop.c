/* Slots that are left out of a step, with real processes: what was dropped is said, and what was counted and what was
 * dropped are together all samples of all steps. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(drop, .init = harness_init, .fini = harness_fini, .timeout = 300);

/* Three epochs of 1438 rows, 12 steps each, and four steps. 2.5 KiB of parameters, on two of three shards. */
enum { TIMEOUT_MS = 120000, SHARDS = 2, STEPS = 40, BATCH = 128, SAMPLES = 3 * 1438 + 4 * BATCH };

#define TRAIN "tests/data/digits/train.csv.gz"
#define JOB                                                                                                      \
    "--model", "softmax", "--batch", "128", "--steps", "40", "--lr", "0.002", "--seed", "7", "--exit-when-done", \
        "--json", "--shards", "3", "--min-shard-kib", "1", "--balance", "off", "--speculate", "off", "--lease", "3600"

static struct process *worker(const char *endpoint, const char *name, const char *slower)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file(TRAIN), "--name", name, "--emulate-slot-ms",
                   "10", "--emulate-slower", slower);
}

static double field(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

/* The numbers that the server ends with; returns how many slots were dropped. */
static double check_conserved(struct process *server, uint32_t slots)
{
    cr_assert_eq(process_wait(server, TIMEOUT_MS), 0, "%s", process_output(server, ERR));
    const char *line = strstr(process_output(server, OUT), "{\"event\":\"done\"");
    cr_assert_not_null(line);
    json_error_t error;
    json_t *done = json_loads(line, JSON_DISABLE_EOF_CHECK, &error);
    cr_assert_not_null(done, "%s", error.text);
    double dropped = field(done, "dropped_slots");
    cr_assert_eq(field(done, "step"), STEPS);
    cr_assert(isfinite(field(done, "loss")));
    cr_assert_eq(field(done, "samples") + field(done, "dropped_samples"), SAMPLES, "%s", line);
    cr_assert_leq(field(done, "dropped_samples"), dropped * BATCH / slots, "%s", line);
    cr_assert_geq(field(done, "dropped_samples"), dropped, "%s", line);
    cr_assert_eq(field(done, "commits"), SHARDS * (STEPS * slots - dropped), "%s", line);
    json_decref(done);
    return dropped;
}

Test(drop, the_slowest_slot_of_each_step)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *workers[4];
    struct process *server = SERVER(endpoint, JOB, "--slots", "4", "--min-workers", "4", "--drop-slowest", "1");
    for (int i = 0; i < 4; i++)
        workers[i] = worker(endpoint, (const char *[]){"a", "b", "c", "d"}[i], i == 3 ? "50" : "1");
    double dropped = check_conserved(server, 4);
    cr_assert_gt(dropped, 0, "one worker is 50 times slower than the others");
    cr_assert_leq(dropped, STEPS, "at most one a step");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(process_wait(workers[i], TIMEOUT_MS), 0, "%s", process_output(workers[i], ERR));
}

Test(drop, what_a_frozen_worker_owes_after_the_stall_timeout)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, JOB, "--slots", "8", "--min-workers", "2", "--on-stall", "drop", "--stall-timeout", "5");
    struct process *alpha = worker(endpoint, "alpha", "1"), *beta = worker(endpoint, "beta", "1");
    process_expect(server, OUT, "\"event\":\"epoch\"", TIMEOUT_MS);
    process_signal(alpha, SIGSTOP);
    const char *line = process_expect(server, ERR, "stall step=", TIMEOUT_MS);
    cr_assert_not_null(strstr(line, "owed_by=\"alpha\""), "%s", line);
    cr_assert_not_null(strstr(line, "dropped from the step"), "%s", line);
    process_expect(server, ERR, "stall-over step=", TIMEOUT_MS);
    process_signal(alpha, SIGCONT);
    double dropped = check_conserved(server, 8);
    cr_assert_gt(dropped, 0);
    cr_assert_eq(process_wait(alpha, TIMEOUT_MS), 0, "%s", process_output(alpha, ERR));
    cr_assert_eq(process_wait(beta, TIMEOUT_MS), 0, "%s", process_output(beta, ERR));
}

/* With no slow worker and B = 0 the result is bsp's, bit for bit, though each step goes by the head. */
Test(drop, nothing_changes_where_nothing_is_dropped)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *models[2], *modes[] = {"wait", "drop"};
    for (int i = 0; i < 2; i++) {
        models[i] = temp_path(i ? "drop.safetensors" : "wait.safetensors");
        struct run_result r = RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "softmax",
                                  "--epochs", "3", "--local-workers", "3", "--data", source_file(TRAIN), "--eval",
                                  source_file("tests/data/digits/test.csv.gz"), "--exit-when-done", "--quiet",
                                  "--export", models[i], "--on-stall", modes[i], "--clip-norm", "1");
        cr_assert_eq(r.status, 0, "%s", r.err);
    }
    models_assert_same(models[0], models[1]);
}

Test(drop, what_cannot_be_dropped_from_is_said)
{
    static const struct {
        const char *option[4], *why;
    } CASES[] = {
        {{"--drop-slowest", "8", "--slots", "8"}, "at most 7"},
        {{"--drop-slowest", "1", "--consistency", "ssp:2"}, "no step waits for the slowest"},
        {{"--on-stall", "drop", "--consistency", "async"}, "no step waits for the slowest"},
        {{"--drop-slowest", "1", "--sparse", "--quiet"}, "rows of tables"},
        {{"--on-stall", "drop", "--data-mode", "local"}, "nobody else has"},
    };
    NEED_PROGRAMS("dp-server");
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const char *const *o = CASES[i].option;
        struct run_result r =
            RUN(TIMEOUT_MS, "dp-server", "--model", "linear", "--features", "3", o[0], o[1], o[2], o[3]);
        cr_assert_eq(r.status, 2);
        cr_assert_not_null(strstr(r.err, CASES[i].why), "%s", r.err);
    }
}
