/* Workers that differ: the fast get more slots, late slots are computed twice, and theta has the bits of a quiet run.
 * tests/bench/stragglers measures the gain. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(load, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000, WORKERS = 4 };

#define DATA "tests/data/digits/train.csv.gz"
#define JOB                                                                                                    \
    "--model", "softmax", "--batch", "320", "--slots", "16", "--epochs", "12", "--lr", "0.002", "--seed", "7", \
        "--optimizer", "momentum", "--exit-when-done", "--quiet"

static const char *train_quietly(void)
{
    const char *path = temp_path("quiet.safetensors");
    struct run_result r = RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--local-workers", "1",
                              "--data", source_file(DATA), "--export", path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return path;
}

static struct process *worker(const char *endpoint, const char *option, const char *value)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file(DATA), "--quiet", option, value,
                   "--emulate-slot-ms", "5");
}

Test(load, slots_follow_speed_and_bits_stay)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *path = temp_path("slow.safetensors");
    struct process *server = SERVER(endpoint, JOB, "--min-workers", "4", "--lease", "1", "--log-level", "info",
                                    "--speculate", "off", "--shards", "2", "--export", path);
    for (int i = 0; i < WORKERS; i++)
        (void)worker(endpoint, "--emulate-slower", i == 1 ? "4" : "1");
    process_expect(server, ERR, "slots-moved", MINUTE_MS);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(train_quietly(), path);
}

Test(load, late_slots_are_computed_twice_and_bits_stay)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *path = temp_path("stalls.safetensors");
    struct process *server = SERVER(endpoint, JOB, "--min-workers", "4", "--log-level", "debug", "--balance", "off",
                                    "--shards", "2", "--export", path);
    for (int i = 0; i < WORKERS; i++)
        (void)worker(endpoint, "--emulate-stalls", i == 1 ? "40@0.2" : "1@0");
    process_expect(server, ERR, "speculate step=", MINUTE_MS);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(train_quietly(), path);
}

/* Shard 0 tells of arrivals at the first part, though theta's only slice is the last shard's. */
Test(load, late_slots_of_a_table_are_computed_twice)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    enum { ROWS = 2000 };
    static char text[ROWS * 32];
    char endpoint[128];
    size_t at = 0;
    for (unsigned r = 0; r < ROWS; r++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%u %u:1 %u:0.5\n", r % 3, 1 + r % 7, 20 + r % 11);
    const char *data = temp_file("rows.svm", text, at);
    struct process *server = SERVER(endpoint, JOB, "--sparse", "--min-workers", "2", "--log-level", "debug",
                                    "--balance", "off", "--shards", "2");
    for (int i = 0; i < 2; i++)
        (void)PROCESS("dp-worker", "--server", endpoint, "--data", data, "--quiet", "--emulate-slot-ms", "5",
                      "--emulate-stalls", i == 1 ? "40@0.2" : "1@0");
    process_expect(server, ERR, "speculate step=", MINUTE_MS);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGTERM);
}

/* The other computes its slots, so that no step stands still for it; its lease is not waited for all the same. */
Test(load, a_killed_worker_is_missed_while_others_compute_its_slots)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, "--model", "softmax", "--batch", "320", "--slots", "16", "--steps",
                                    "100000", "--min-workers", "2", "--lease", "3600", "--json");
    (void)worker(endpoint, "--emulate-slower", "1");
    struct process *killed = worker(endpoint, "--emulate-slower", "1");
    process_expect(server, OUT, "\"epoch\":4,", MINUTE_MS); /* the time of a slot is known */
    process_signal(killed, SIGKILL);
    process_expect(server, ERR, "worker-lost worker=", MINUTE_MS);
    cr_assert_not_null(strstr(process_output(server, ERR), "reason=\"its connection is gone\""));
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGTERM);
}

Test(load, equal_shares_and_no_copies_when_told)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--min-workers", "2", "--lease", "1", "--log-level", "debug",
                                    "--balance", "off", "--speculate", "off");
    (void)worker(endpoint, "--emulate-slower", "1");
    (void)worker(endpoint, "--emulate-slower", "3");
    cr_assert_eq(process_wait(server, MINUTE_MS), 0);
    cr_assert_null(strstr(process_output(server, ERR), "slots-moved"));
    cr_assert_null(strstr(process_output(server, ERR), "speculate step="));
}

Test(load, too_few_workers_wait_for_more)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--min-workers", "2");
    struct process *first = worker(endpoint, "--emulate-slower", "1");
    process_expect(server, ERR, "too-few-workers step=0 joined=1 waiting_for=\"1 more\"", MINUTE_MS);
    struct run_result status = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_not_null(strstr(status.out, "waiting    for workers: 1 of the 2 of --min-workers are here"), "%s",
                       status.out);
    struct process *second = worker(endpoint, "--emulate-slower", "1");
    cr_assert_eq(process_wait(server, MINUTE_MS), 0);
    cr_assert_eq(process_wait(first, MINUTE_MS), 0);
    cr_assert_eq(process_wait(second, MINUTE_MS), 0);
}

/* One that leaves in good order hands its slots over and makes room at once, whatever the lease is. */
Test(load, one_too_many_waits_until_another_leaves)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB, "--max-workers", "1", "--log-level", "info", "--lease", "3600",
                                    "--stall-timeout", "3600");
    struct process *first = worker(endpoint, "--name", "first");
    process_expect(server, ERR, "worker-joined worker=\"first\"", MINUTE_MS);
    struct process *second = worker(endpoint, "--name", "second");
    process_expect(server, ERR, "worker-refused worker=\"second\"", MINUTE_MS);
    process_signal(first, SIGTERM);
    cr_assert_eq(process_wait(first, MINUTE_MS), 128 + SIGTERM);
    process_expect(server, ERR, "worker-joined worker=\"second\" workers=1", MINUTE_MS);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0);
    cr_assert_eq(process_wait(second, MINUTE_MS), 0);
}
