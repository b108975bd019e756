/* A server that is started again goes on where its checkpoints say, with workers that did not notice more than a lost
 * connection, and theta has the bits of a job that nobody disturbed. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/checkpoint/manifest.h"
#include "tests/integration/support/durable.h"
#include "tests/integration/support/harness.h"

TestSuite(resume, .init = harness_init, .fini = harness_fini, .timeout = 240);

/* ---- kills ---- */

/* A copy of the data that can be taken away. */
static const char *own_data(void)
{
    const char *path = temp_path("own.csv.gz");
    struct run_result r = RUN(DURABLE_MS, "/bin/cp", durable_data(), path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return path;
}

/* The other one may have gone on already. */
static void expect_joined_again(struct process *worker, uint64_t step)
{
    static const char SAYS[] = "the job went on at step ";
    const char *line = process_expect_next(worker, ERR, SAYS, DURABLE_MS);
    uint64_t told = strtoull(strstr(line, SAYS) + strlen(SAYS), NULL, 10);
    cr_assert(told >= step && told <= DURABLE_STEPS, "resumed at %" PRIu64 ": %s", step, line);
}

/* `epochs`: how many are waited for behind a checkpoint before the kill. */
static void a_killed_server(int kills, int epochs)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *model = temp_path("model"), *data = own_data();
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "50", "--export", model);
    struct process *workers[] = {durable_worker(data, "a"), durable_worker(data, "b")};
    (void)durable_expect_checkpoint(server);
    for (int w = 0; w < 2; w++)
        process_expect(workers[w], ERR, "joined", DURABLE_MS);
    unlink(data); /* workers keep what they have read */
    for (int i = 0; i < kills; i++) {
        char want[64];
        for (int e = 0; e < epochs; e++)
            process_expect_next(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
        durable_kill(server);
        struct durable_folder list = durable_list(dir);
        server = DURABLE_SERVER(dir, "--checkpoint-every", "50", "--export", model);
        snprintf(want, sizeof want, "resumed at training step %" PRIu64 " of 600", list.steps[list.count - 1]);
        process_expect(server, ERR, want, DURABLE_MS);
        for (int w = 0; w < 2; w++)
            expect_joined_again(workers[w], list.steps[list.count - 1]);
        (void)durable_expect_checkpoint(server);
    }
    for (int w = 0; w < 2; w++)
        durable_expect_end(workers[w]);
    durable_expect_end(server);
    models_assert_same(durable_quiet_model(), model);
    cr_expect_eq(durable_events(dir, "resumed"), (size_t)kills);
}

Test(resume, a_server_that_is_killed_at_a_checkpoint)
{
    a_killed_server(3, 0);
}

Test(resume, a_server_that_is_killed_between_checkpoints)
{
    a_killed_server(3, 2);
}

Test(resume, a_server_that_is_killed_before_its_first_checkpoint_begins_anew)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *model = temp_path("model");
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "3600s", "--export", model);
    struct process *worker = durable_worker(durable_data(), "a");
    process_expect(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
    durable_kill(server);
    server = DURABLE_SERVER(dir, "--checkpoint-every", "3600s", "--export", model);
    durable_expect_end(worker);
    durable_expect_end(server);
    cr_expect_null(strstr(process_output(server, ERR), "resumed"));
    models_assert_same(durable_quiet_model(), model);
}

/* As `systemctl restart` does it: workers are told, and wait. */
Test(resume, workers_wait_for_a_server_that_is_stopped)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const int SIGNALS[] = {SIGTERM, SIGINT, SIGTERM};
    const char *dir = temp_path("dir"), *model = temp_path("model");
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "3600s", "--export", model);
    struct process *workers[] = {durable_worker(durable_data(), "a"), durable_worker(durable_data(), "b")};
    for (size_t i = 0; i < sizeof SIGNALS / sizeof *SIGNALS; i++) {
        process_expect_next(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
        process_signal(server, SIGNALS[i]);
        for (int w = 0; w < 2; w++)
            process_expect_next(workers[w], ERR, "stopped by a signal, and goes on once it is started again",
                                DURABLE_MS);
        cr_assert_eq(process_wait(server, DURABLE_MS), 128 + SIGNALS[i], "%s", process_output(server, ERR));
        server = DURABLE_SERVER(dir, "--checkpoint-every", "3600s", "--export", model, "--resume", "require");
        for (int w = 0; w < 2; w++)
            expect_joined_again(workers[w], 1);
    }
    for (int w = 0; w < 2; w++)
        durable_expect_end(workers[w]);
    durable_expect_end(server);
    models_assert_same(durable_quiet_model(), model);
}

/* Nobody comes back for a job that has no checkpoints. */
Test(resume, workers_end_with_a_server_that_has_no_checkpoints)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, DURABLE_JOB, "--json");
    struct process *worker = PROCESS("dp-worker", DURABLE_WORKER(endpoint, durable_data(), "a"));
    process_expect(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, DURABLE_MS), 128 + SIGTERM);
    cr_assert_eq(process_wait(worker, DURABLE_MS), 69, "%s", process_output(worker, ERR));
}

/* ---- command lines that differ ---- */

Test(resume, another_job_is_refused_with_both_values)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const struct {
        const char *option, *before, *now;
    } CASES[] = {
        {"--model", "softmax", "logistic"},
        {"--batch", "100", "101"},
        {"--slots", "4", "8"},
        {"--optimizer", "adam", "adamw"},
        {"--l1", "0.001", "0.002"},
        {"--seed", "7", "8"},
        {"--l2", "none", "0.5"},
        {"--clip-norm", "0", "1"},
        {"--intercept", "on", "off"},
        {"--beta1", "0.9", "0.95"},
        {"--lr-schedule", "constant", "cosine"},
        {"--constraint", "none", "l2-ball=1"},
    };
    const char *dir = durable_half_done();
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char want[200];
        struct run_result r = DURABLE_RUN(dir, temp_path("none"), CASES[i].option, CASES[i].now);
        cr_expect_eq(r.status, 2, "%s: %d %s", CASES[i].option, r.status, r.err);
        snprintf(want, sizeof want, "option %s: the job in %s has %s, the command line %s", CASES[i].option, dir,
                 CASES[i].before, CASES[i].now);
        cr_expect(strstr(r.err, want), "%s, of which there is no '%s'", r.err, want);
        cr_expect(strstr(r.err, "--resume never"), "the remedy: %s", r.err);
    }
}

Test(resume, another_layout_has_the_same_bits)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const SHARDS[] = {"1", "2", "3", "5"}, *const WORKERS[] = {"1", "2", "3"};
    const char *half = durable_half_done(), *quiet = durable_quiet_model();
    for (size_t s = 0; s < 4; s++)
        for (size_t w = 0; w < 3; w++) {
            char name[32];
            snprintf(name, sizeof name, "s%s-w%s", SHARDS[s], WORKERS[w]);
            const char *dir = durable_copy(half, name), *model = temp_path(strcat(name, ".model"));
            struct run_result r = DURABLE_RUN(dir, model, "--resume", "require", "--shards", SHARDS[s],
                                              "--local-workers", WORKERS[w], "--checkpoint-every", "100");
            cr_assert_eq(r.status, 0, "%s: %s", name, r.err);
            cr_assert(strstr(r.err, "resumed at training step "), "%s", r.err);
            models_assert_same(quiet, model);
        }
}

/* Shards change at each of several restarts. */
Test(resume, layouts_that_follow_each_other)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const SHARDS[] = {"3", "1", "4", "2"};
    const char *dir = durable_half_done(), *model = temp_path("model");
    for (size_t i = 0; i < 4; i++) {
        struct process *server =
            DURABLE_SERVER(dir, "--checkpoint-every", "20", "--shards", SHARDS[i], "--export", model);
        struct process *worker = durable_worker(durable_data(), "w");
        (void)durable_expect_checkpoint(server);
        durable_kill(server);
        durable_kill(worker);
    }
    struct run_result r = DURABLE_RUN(dir, model, "--shards", "5");
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(durable_quiet_model(), model);
}

static bool same_bytes(const char *a, const char *b)
{
    return RUN(DURABLE_MS, "/usr/bin/cmp", a, b).status == 0;
}

/* A new rate holds from the step on at which the job went on, also after further restarts. */
Test(resume, another_learning_rate_may_be_given)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *half = durable_half_done(), *once = temp_path("once"), *twice = temp_path("twice"),
               *dir = durable_copy(half, "killed");
    struct run_result r = DURABLE_RUN(durable_copy(half, "straight"), once, "--lr", "0.004");
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "20", "--lr", "0.004");
    struct process *worker = durable_worker(durable_data(), "w");
    for (int i = 0; i < 3; i++)
        (void)durable_expect_checkpoint(server);
    durable_kill(server);
    durable_kill(worker);
    r = DURABLE_RUN(dir, twice, "--lr", "0.004");
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(once, twice);
    cr_expect_not(same_bytes(once, durable_quiet_model()), "the rate had an effect");
}

/* A rate that dp-ctl has set holds until the command line has another one than before. */
Test(resume, a_rate_that_was_set_stays)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    const char *dir = temp_path("dir"), *model = temp_path("model");
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "20", "--export", model);
    struct process *worker = durable_worker(durable_data(), "w");
    process_expect(server, OUT, "\"event\":\"epoch\"", DURABLE_MS);
    struct run_result r = RUN(DURABLE_MS, "dp-ctl", "--server", durable_endpoint(), "set", "lr", "0.25");
    cr_assert_eq(r.status, 0, "%s", r.err);
    process_expect_next(server, OUT, "\"lr\":0.25", DURABLE_MS);
    (void)durable_expect_checkpoint(server);
    durable_kill(server);
    server = DURABLE_SERVER(dir, "--checkpoint-every", "20", "--export", model);
    durable_expect_end(worker);
    durable_expect_end(server);
    cr_expect(strstr(process_output(server, OUT), "\"lr\":0.25"), "%s", process_output(server, OUT));
    cr_expect_null(strstr(process_output(server, OUT), "\"lr\":0.001"), "%s", process_output(server, OUT));
}

/* dp-ctl has said that it is set; the server is killed before its next checkpoint. */
Test(resume, what_was_set_after_the_checkpoint_stays)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    const char *dir = temp_path("dir");
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "300");
    struct process *worker = durable_worker(durable_data(), "w");
    cr_assert_eq(durable_expect_checkpoint(server), 300);
    struct run_result r = RUN(DURABLE_MS, "dp-ctl", "--server", durable_endpoint(), "--json", "set", "lr", "0.25");
    cr_assert_eq(r.status, 0, "%s", r.err);
    const char *at = strstr(r.out, "\"train_step\":");
    cr_assert(at, "%s", r.out);
    const uint64_t step = strtoull(at + strlen("\"train_step\":"), NULL, 10);
    cr_assert(step >= 300 && step < DURABLE_STEPS, "%s", r.out);
    durable_kill(server);
    server = DURABLE_SERVER(dir, "--checkpoint-every", "300");
    process_expect(server, ERR, "resumed at training step 300 of 600", DURABLE_MS);
    durable_expect_end(worker);
    durable_expect_end(server);
    struct manifest manifest = {0};
    dp_error err;
    cr_assert_eq(manifest_read(durable_file(dir, DURABLE_STEPS, "manifest.json"), &manifest, &err), DP_OK, "%s",
                 err.text);
    cr_assert_eq(manifest.rates.count, 1);
    cr_expect_eq(manifest.rates.list[0].from, step);
    cr_expect_eq(manifest.rates.list[0].lr, 0.25);
    cr_expect_eq(manifest.settings, 1);
    manifest_fini(&manifest);
}

/* ---- the end, and beyond ---- */

Test(resume, a_finished_job_says_so_and_ends)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *model = temp_path("model"), *again = temp_path("again");
    struct run_result r = DURABLE_RUN(dir, model, "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    r = DURABLE_RUN(dir, again, "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect(strstr(r.err, "the job is finished: 600 training steps, checkpoint "), "%s", r.err);
    models_assert_same(model, again);
}

/* The server was killed before it could tell them: they look for it. */
Test(resume, a_finished_job_tells_workers_that_look_for_it)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir");
    struct run_result r = DURABLE_RUN(dir, temp_path("model"), "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct process *worker = durable_worker(durable_data(), "w");
    process_expect(worker, ERR, "cannot reach", DURABLE_MS);
    durable_expect_end(DURABLE_SERVER(dir, "--checkpoint-every", "100"));
    durable_expect_end(worker);
}

Test(resume, a_finished_job_goes_on_with_more_epochs)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *whole = temp_path("whole"), *parts = temp_path("parts");
    struct run_result r =
        RUN(DURABLE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "softmax", "--batch", "100", "--slots",
            "4", "--epochs", "50", "--optimizer", "adam", "--l1", "0.001", "--seed", "7", "--exit-when-done",
            "--local-workers", "1", "--data", durable_data(), "--export", whole);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r = DURABLE_RUN(dir, parts, "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    r = DURABLE_RUN(dir, parts, "--epochs", "50", "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect(strstr(r.err, "resumed at training step 600 of 750"), "%s", r.err);
    models_assert_same(whole, parts);
}

/* Workers that stay take the new end of the job, beyond its old one, and new shards. */
Test(resume, workers_that_stay_take_more_epochs)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = temp_path("dir"), *whole = temp_path("whole"), *parts = temp_path("parts");
    struct run_result r = DURABLE_RUN(temp_path("quiet"), whole, "--epochs", "60");
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "50");
    struct process *workers[] = {durable_worker(durable_data(), "a"), durable_worker(durable_data(), "b")};
    (void)durable_expect_checkpoint(server);
    for (int w = 0; w < 2; w++)
        process_expect(workers[w], ERR, "joined", DURABLE_MS);
    durable_kill(server);
    server = DURABLE_SERVER(dir, "--checkpoint-every", "50", "--epochs", "60", "--shards", "3", "--export", parts);
    process_expect(server, ERR, " of 900 from ", DURABLE_MS);
    for (int w = 0; w < 2; w++)
        durable_expect_end(workers[w]);
    durable_expect_end(server);
    models_assert_same(whole, parts);
}

Test(resume, never_begins_anew)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = durable_half_done(), *model = temp_path("model");
    struct run_result r = DURABLE_RUN(dir, model, "--resume", "never", "--checkpoint-every", "30");
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect_null(strstr(r.err, "resumed"), "%s", r.err);
    models_assert_same(durable_quiet_model(), model);
    r = DURABLE_RUN(dir, model, "--checkpoint-every", "30");
    cr_expect(strstr(r.err, "the job is finished"), "the later beginning counts: %s", r.err);
}

/* Checkpoints of the first beginning are of later steps, and are not those to go on from. */
Test(resume, the_latest_beginning_counts_and_not_the_farthest_step)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *dir = durable_half_done(), *model = temp_path("model");
    struct durable_folder before = durable_list(dir);
    struct process *server =
        DURABLE_SERVER(dir, "--resume", "never", "--checkpoint-every", "10", "--keep-checkpoints", "9");
    struct process *worker = durable_worker(durable_data(), "w");
    uint64_t step = durable_expect_checkpoint(server);
    durable_kill(server);
    durable_kill(worker);
    struct durable_folder list = durable_list(dir);
    for (size_t i = 0; i < list.count; i++)
        step = list.steps[i] < before.steps[0] && list.steps[i] > step ? list.steps[i] : step;
    struct run_result r = DURABLE_RUN(dir, model, "--checkpoint-every", "100");
    cr_assert_eq(r.status, 0, "%s", r.err);
    const char *resumed = strstr(r.err, "resumed at training step ");
    cr_assert_not_null(resumed, "%s", r.err);
    cr_expect_lt(strtoull(resumed + strlen("resumed at training step "), NULL, 10), before.steps[before.count - 1]);
    models_assert_same(durable_quiet_model(), model);
}

Test(resume, require_ends_where_there_is_none)
{
    NEED_PROGRAMS("dp-server");
    struct run_result r = DURABLE_RUN(temp_path("dir"), temp_path("model"), "--resume", "require");
    cr_expect_eq(r.status, 1);
    cr_expect(strstr(r.err, "--resume require: "), "%s", r.err);
    cr_expect(strstr(r.err, "has no checkpoint"), "%s", r.err);
}

/* ---- the lock ---- */

Test(resume, a_second_server_is_kept_out_and_told_by_whom)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char want[64];
    const char *dir = temp_path("dir");
    struct process *server = DURABLE_SERVER(dir, "--checkpoint-every", "50");
    struct run_result r = DURABLE_RUN(dir, temp_path("model"), "--checkpoint-every", "50");
    cr_expect_neq(r.status, 0);
    snprintf(want, sizeof want, "is in use by dp-server with pid %d on ", (int)process_pid(server));
    cr_expect(strstr(r.err, want), "%s", r.err);
    durable_kill(server);
    r = DURABLE_RUN(dir, temp_path("model"), "--checkpoint-every", "50");
    cr_expect_eq(r.status, 0, "nobody has to clear it: %s", r.err);
}
