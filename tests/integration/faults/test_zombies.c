/* Workers that are given up and live on, and workers that wait while another dies: theta has the bits of a quiet run.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "tests/integration/support/harness.h"

TestSuite(zombies, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000 };

#define DATA "tests/data/digits/train.csv.gz"
#define JOB                                                                                                   \
    "--model", "softmax", "--batch", "320", "--slots", "8", "--epochs", "30", "--lr", "0.002", "--seed", "7", \
        "--exit-when-done", "--json", "--shards", "2", "--stall-timeout", "3600"

static struct process *worker(const char *endpoint, const char *name, const char *slot_ms)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file(DATA), "--name", name, "--emulate-slot-ms",
                   slot_ms);
}

static void assert_quiet_bits(const char *path)
{
    const char *quiet = temp_path("quiet.safetensors");
    struct run_result r = RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--local-workers", "1",
                              "--data", source_file(DATA), "--export", quiet);
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(quiet, path);
}

/* Frozen in the middle of a slot for longer than its lease: what it pushes when it wakes is of a session that is void.
 */
Test(zombies, a_zombie_after_fencing_does_no_harm)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *path = temp_path("zombie.safetensors");
    struct process *server =
        SERVER(endpoint, JOB, "--min-workers", "2", "--lease", "1", "--log-level", "info", "--export", path);
    struct process *zombie = worker(endpoint, "zombie", "10");
    (void)worker(endpoint, "alive", "10");
    process_expect(server, OUT, "\"event\":\"epoch\"", MINUTE_MS);
    process_signal(zombie, SIGSTOP);
    process_expect(server, ERR, "worker-gone worker=\"zombie\" reason=\"its lease ran out\"", MINUTE_MS);
    process_signal(zombie, SIGCONT);
    process_expect(zombie, ERR, "joined tcp://127.0.0.1:", MINUTE_MS);
    const char *line = process_expect(server, ERR, "attempt=2", MINUTE_MS);
    cr_assert_not_null(strstr(line, "worker=\"zombie\" number="), "%s", line);
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    cr_assert_eq(process_wait(zombie, MINUTE_MS), 0, "%s", process_output(zombie, ERR));
    assert_quiet_bits(path);
}

/* One worker would compute for an hour; all others have done theirs and wait when it dies. */
Test(zombies, all_survivors_wait_when_a_slot_must_be_computed_again)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    const char *path = temp_path("parked.safetensors");
    struct process *server =
        SERVER(endpoint, JOB, "--min-workers", "3", "--lease", "3600", "--speculate", "off", "--export", path);
    struct process *lost = worker(endpoint, "lost", "3600000");
    (void)worker(endpoint, "one", "1");
    (void)worker(endpoint, "two", "1");
    for (bool alone = false; !alone;) {
        cr_assert_not(process_ended(server, 300));
        struct run_result status = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status");
        alone = strstr(status.out, " of lost (last heard of") && !strstr(status.out, " of one (last heard of") &&
                !strstr(status.out, " of two (last heard of");
    }
    process_signal(lost, SIGKILL);
    cr_assert_eq(process_wait(lost, MINUTE_MS), 128 + SIGKILL);
    (void)worker(endpoint, "three", "1");
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    assert_quiet_bits(path);
}
