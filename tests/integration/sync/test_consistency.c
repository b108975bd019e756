/* Jobs whose slots commit on arrival, with real processes: they reach what bsp reaches, and every slot of every step is
 * committed exactly once on every shard, whoever is killed. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/support/conservation.h"
#include "tests/integration/support/harness.h"

TestSuite(consistency, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { TIMEOUT_MS = 120000, SLOTS = 6, SHARDS = 2 };

/* `decay`: that of ada-delay, NULL: a constant rate. */
static json_t *run_digits(const char *consistency, const char *optimizer, const char *lr, const char *decay)
{
    struct run_result r =
        RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "softmax", "--slots", "6", "--shards",
            "2", "--batch", "100", "--epochs", "20", "--optimizer", optimizer, "--lr", lr, "--l2", "1e-2",
            "--local-workers", "3", "--data", source_file("tests/data/digits/train.csv.gz"), "--eval",
            source_file("tests/data/digits/test.csv.gz"), "--exit-when-done", "--json", "--consistency", consistency,
            decay ? "--lr-schedule" : NULL, "ada-delay", "--lr-decay", decay); /* NULL ends the words */
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *done = done_line(r.out);
    done_assert_conserved(done, SLOTS, SHARDS);
    return done;
}

/* The evaluation's loss, which is of one theta, within 5% of bsp's. The mean over an epoch's minibatches is of as many
 * thetas as there were commits, and so rather smaller: it only must not be larger. */
static void check_close(const json_t *bsp, const char *consistency, const char *optimizer, const char *lr,
                        const char *decay)
{
    json_t *got = run_digits(consistency, optimizer, lr, decay);
    cr_assert_lt(done_number(got, "loss"), 1.05 * done_number(bsp, "loss"), "%s %s", consistency, optimizer);
    cr_assert_lt(fabs(done_number(got, "eval_loss") / done_number(bsp, "eval_loss") - 1), 0.05, "%s %s: %g, bsp %g",
                 consistency, optimizer, done_number(got, "eval_loss"), done_number(bsp, "eval_loss"));
    json_decref(got);
}

Test(consistency, on_arrival_reaches_what_bsp_reaches)
{
    static const char *const RULES[][2] = {{"sgd", "0.005"}, {"momentum", "0.0005"}};
    NEED_PROGRAMS("dp-server", "dp-worker");
    for (size_t i = 0; i < sizeof RULES / sizeof RULES[0]; i++) {
        json_t *bsp = run_digits("bsp", RULES[i][0], RULES[i][1], NULL);
        check_close(bsp, "ssp:3", RULES[i][0], RULES[i][1], NULL);
        check_close(bsp, "async", RULES[i][0], RULES[i][1], NULL);
        json_decref(bsp);
    }
}

/* Rates that fall by half over the job. */
Test(consistency, ada_delay_reaches_what_bsp_reaches)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    json_t *bsp = run_digits("bsp", "sgd", "0.005", NULL);
    check_close(bsp, "ssp:3", "sgd", "0.0075", "0.05");
    check_close(bsp, "async", "sgd", "0.0075", "0.05");
    json_decref(bsp);
}

/* Workers that die at any moment, also between their pushes to two shards: what they left is computed by others. */
static void run_with_deaths(const char *consistency)
{
    char endpoint[128];
    const char *data = source_file("tests/data/digits/train.csv.gz");
    struct process *server =
        SERVER(endpoint, "--model", "softmax", "--slots", "6", "--shards", "2", "--batch", "100", "--steps", "4000",
               "--lr", "0.01", "--exit-when-done", "--json", "--consistency", consistency);
    struct process *stays = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    int deaths = 0;
    for (int round = 0; round < 6; round++) {
        struct process *dies = PROCESS("dp-worker", "--server", endpoint, "--data", data, "--json");
        process_expect(server, OUT, "\"epoch\"", TIMEOUT_MS);
        if (process_ended(dies, 60 + 45 * (uint32_t)round))
            break; /* the job is done */
        process_signal(dies, SIGKILL);
        process_wait(dies, TIMEOUT_MS);
        deaths++;
    }
    cr_assert_geq(deaths, 3, "the job was over too soon");
    cr_assert_eq(process_wait(server, TIMEOUT_MS), 0, "%s", process_output(server, ERR));
    cr_assert_eq(process_wait(stays, TIMEOUT_MS), 0, "%s", process_output(stays, ERR));
    const char *said = strstr(process_output(stays, ERR), " slots of ");
    unsigned steps = 0;
    cr_assert(said && sscanf(said, " slots of %u steps", &steps) == 1, "%s", process_output(stays, ERR));
    cr_assert(steps > 1000 && steps <= 4000, "a step that it went back to is counted twice: %s", said);
    json_t *done = done_line(process_output(server, OUT));
    cr_assert_eq(done_number(done, "step"), 4000);
    done_assert_conserved(done, SLOTS, SHARDS);
    json_decref(done);
}

Test(consistency, ssp_commits_each_slot_once_whoever_dies)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    run_with_deaths("ssp:3");
}

Test(consistency, async_commits_each_slot_once_whoever_dies)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    run_with_deaths("async");
}

/* bsp with S = 0 under another name has its bits. */
Test(consistency, ssp_0_is_bsp)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *models[2], *modes[] = {"bsp", "ssp:0"};
    for (int i = 0; i < 2; i++) {
        models[i] = temp_path(i ? "zero.safetensors" : "bsp.safetensors");
        struct run_result r =
            RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "softmax", "--epochs", "2",
                "--local-workers", "2", "--data", source_file("tests/data/digits/train.csv.gz"), "--exit-when-done",
                "--quiet", "--export", models[i], "--consistency", modes[i]);
        cr_assert_eq(r.status, 0, "%s", r.err);
    }
    models_assert_same(models[0], models[1]);
}

Test(consistency, what_cannot_be_had_on_arrival_is_said)
{
    static const char *const RULES[][2] = {
        {"--optimizer", "lars"}, {"--optimizer", "lamb"}, {"--clip-norm", "1"}, {"--constraint", "l2-ball=1"}};
    NEED_PROGRAMS("dp-server");
    for (size_t i = 0; i < sizeof RULES / sizeof RULES[0]; i++) {
        struct run_result r =
            RUN(TIMEOUT_MS, "dp-server", "--model", "linear", "--consistency", "async", RULES[i][0], RULES[i][1]);
        cr_assert_eq(r.status, 2);
        cr_assert_not_null(strstr(r.err, "sums over all shards"), "%s", r.err);
    }
    struct run_result r = RUN(TIMEOUT_MS, "dp-server", "--model", "linear", "--consistency", "ssp:33");
    cr_assert_eq(r.status, 2);
    cr_assert_not_null(strstr(r.err, "0 to 32"), "%s", r.err);
    r = RUN(TIMEOUT_MS, "dp-server", "--model", "linear", "--consistency", "async", "--sparse");
    cr_assert_eq(r.status, 2);
    cr_assert_not_null(strstr(r.err, "rows of tables commit once a step"), "%s", r.err);
}

/* ---- dp-ctl set consistency ---- */

static char endpoint[128]; /* of the server that a test has at the moment */

/* The JSON that dp-ctl prints. */
#define CTL(...) ctl((const char *const[]){"--server", endpoint, __VA_ARGS__, "--json", NULL})

static json_t *ctl(const char *const *args)
{
    struct run_result r = run_program(TIMEOUT_MS, "dp-ctl", args);
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *object = json_loads(r.out, 0, NULL);
    cr_assert_not_null(object, "%s", r.out);
    return object;
}

/* The step from which on the mode holds. */
static double set_mode(const char *mode)
{
    json_t *object = CTL("set", "consistency", mode);
    double step = done_number(object, "step");
    cr_assert_str_eq(json_string_value(json_object_get(object, "value")), mode);
    json_decref(object);
    return step;
}

/* The status says `mode` now and `next` from `step` on. */
static void check_status(const char *mode, const char *next, double step)
{
    json_t *status = CTL("status"), *job = json_object_get(status, "job");
    json_t *to_come = json_object_get(job, "consistency_next");
    cr_assert_str_eq(json_string_value(json_object_get(job, "consistency")), mode);
    cr_assert_str_eq(json_string_value(json_object_get(to_come, "mode")), next);
    cr_assert_eq(done_number(to_come, "step"), step);
    json_decref(status);
}

#define DIGITS                                                                                                  \
    "--model", "softmax", "--slots", "6", "--shards", "2", "--batch", "100", "--epochs", "20", "--lr", "0.005", \
        "--l2", "1e-2", "--exit-when-done", "--json"

static struct process *slow_worker(void)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file("tests/data/digits/train.csv.gz"), "--eval",
                   source_file("tests/data/digits/test.csv.gz"), "--emulate-slot-ms", "5");
}

/* A job that waits for its second worker: its open steps stay what they are. */
static struct process *waiting_job(const char *consistency, const char *model)
{
    struct process *server =
        SERVER(endpoint, DIGITS, "--min-workers", "2", "--consistency", consistency, "--export", model);
    (void)slow_worker();
    process_expect(server, ERR, "too-few-workers step=0 joined=1", TIMEOUT_MS);
    return server;
}

Test(consistency, a_running_job_is_switched)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    json_t *bsp = run_digits("bsp", "sgd", "0.005", NULL);
    struct process *server = waiting_job("bsp", temp_path("switched.safetensors"));
    cr_assert_eq(set_mode("ssp:2"), 1, "step 0 is open");
    check_status("bsp", "ssp:2", 1);
    (void)slow_worker();
    process_expect(server, OUT, "\"epoch\"", TIMEOUT_MS);
    cr_assert_gt(set_mode("async"), 1);
    cr_assert_gt(set_mode("bsp"), 1);
    cr_assert_eq(process_wait(server, TIMEOUT_MS), 0, "%s", process_output(server, ERR));
    json_t *done = done_line(process_output(server, OUT));
    done_assert_conserved(done, SLOTS, SHARDS);
    cr_assert_gt(done_number(done, "staleness_max"), 0, "it was ssp for a while");
    cr_assert_lt(fabs(done_number(done, "eval_loss") / done_number(bsp, "eval_loss") - 1), 0.05);
    json_decref(done);
    json_decref(bsp);
}

/* Steps 0 to 2 of ssp:2 are open from the start. */
Test(consistency, bsp_begins_at_the_first_step_that_is_not_open)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    struct process *server = waiting_job("ssp:2", temp_path("ssp.safetensors"));
    cr_assert_eq(set_mode("bsp"), 3);
    check_status("ssp:2", "bsp", 3);
    (void)slow_worker();
    cr_assert_eq(process_wait(server, TIMEOUT_MS), 0, "%s", process_output(server, ERR));
    json_t *done = done_line(process_output(server, OUT));
    done_assert_conserved(done, SLOTS, SHARDS);
    cr_assert_lt(done_number(done, "staleness_max"), 3 * SLOTS, "of the first three steps only");
    json_decref(done);
}

/* A change that is taken back before its first step has never been. */
Test(consistency, what_is_taken_back_in_time_leaves_the_bits)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    const char *want = temp_path("bsp.safetensors"), *got = temp_path("back.safetensors");
    struct run_result r = RUN(TIMEOUT_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", DIGITS, "--local-workers", "2",
                              "--data", source_file("tests/data/digits/train.csv.gz"), "--eval",
                              source_file("tests/data/digits/test.csv.gz"), "--export", want);
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct process *server = waiting_job("bsp", got);
    cr_assert_eq(set_mode("ssp:2"), 1);
    cr_assert_eq(set_mode("bsp"), 1);
    (void)slow_worker();
    cr_assert_eq(process_wait(server, TIMEOUT_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(want, got);
}

/* A job that waits for its second worker refuses a mode, and says why. */
static void check_refused(const char *option, const char *value, const char *mode, const char *why)
{
    struct process *server = SERVER(endpoint, "--model", "softmax", "--features", "64", "--classes", "10", "--steps",
                                    "9", "--min-workers", "2", option, value);
    (void)slow_worker();
    process_expect(server, ERR, "too-few-workers step=0 joined=1", TIMEOUT_MS);
    struct run_result r = RUN(TIMEOUT_MS, "dp-ctl", "--server", endpoint, "set", "consistency", mode);
    cr_assert_eq(r.status, 2, "%s", r.err);
    cr_assert_not_null(strstr(r.err, why), "%s", r.err);
    process_signal(server, SIGTERM);
    (void)process_wait(server, TIMEOUT_MS);
}

Test(consistency, a_job_that_can_only_be_bsp_says_why)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    check_refused("--optimizer", "lars", "ssp:2", "needs sums over all shards");
    check_refused("--data-mode", "local", "ssp:2", "--data-mode local");
    check_refused("--seed", "1", "ssp:33", "0 to 32");
}
