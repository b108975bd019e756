/* A job's end reacts to events: from the last worker's goodbye, or from a signal, to the end of the server no time of a
 * clock passes. Each is measured some times; of a server that waits for its next tick of 250 ms half of the ends would
 * take longer than what is allowed here for the middle one: what `dp-server --version` takes, which is longer on a busy
 * machine and with sanitizers, three times, and a little. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/integration/support/harness.h"

TestSuite(quick_ends, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000, RUNS = 9, LITTLE_MS = 60 };

#define QUICK "--listen", "tcp://127.0.0.1:0", "--log-level", "info", "--quiet"

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The middle one of a program's whole run that does nothing. */
static uint64_t nothing_ms(void)
{
    uint64_t took_ms[RUNS];
    for (int i = 0; i < RUNS; i++) {
        uint64_t begin_ms = mono_ms();
        cr_assert_eq(RUN(MINUTE_MS, "dp-server", "--version").status, 0);
        took_ms[i] = mono_ms() - begin_ms;
    }
    qsort(took_ms, RUNS, sizeof *took_ms, ascending);
    return took_ms[RUNS / 2];
}

static void assert_quick(uint64_t *took_ms, const char *what)
{
    char all[RUNS * 8] = "";
    uint64_t most_ms = LITTLE_MS + 3 * nothing_ms();
    for (int i = 0; i < RUNS; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), " %u", (unsigned)took_ms[i]);
    qsort(took_ms, RUNS, sizeof *took_ms, ascending);
    cr_assert_leq(took_ms[RUNS / 2], most_ms, "%s:%s ms, at most %u", what, all, (unsigned)most_ms);
}

static const char *small_data(void)
{
    return temp_text("small.svm", "1 1:1 2:0.5\n-1 1:-1\n1 2:2\n-1 2:-1 3:1\n");
}

/* From the last of `workers` goodbyes to the end. */
static uint64_t goodbye_to_end(struct process *server, int workers)
{
    for (int i = 0; i < workers; i++)
        process_expect_next(server, ERR, "worker-gone", MINUTE_MS);
    uint64_t gone_ms = mono_ms();
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    return mono_ms() - gone_ms;
}

Test(quick_ends, local_workers)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    uint64_t took_ms[RUNS];
    const char *data = small_data(), *model = temp_path("m.safetensors");
    for (int i = 0; i < RUNS; i++) {
        struct process *server = PROCESS("dp-server", QUICK, "--model", "logistic", "--local-workers", "1", "--data",
                                         data, "--epochs", "1", "--exit-when-done", "--export", model);
        took_ms[i] = goodbye_to_end(server, 1);
    }
    assert_quick(took_ms, "one local worker");
}

Test(quick_ends, workers_elsewhere)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    uint64_t took_ms[RUNS];
    const char *data = small_data();
    char endpoint[128];
    for (int i = 0; i < RUNS; i++) {
        struct process *server = SERVER(endpoint, "--log-level", "info", "--quiet", "--model", "logistic", "--epochs",
                                        "1", "--min-workers", "2", "--exit-when-done");
        for (int w = 0; w < 2; w++)
            (void)PROCESS("dp-worker", "--server", endpoint, "--data", data, "--quiet");
        took_ms[i] = goodbye_to_end(server, 2);
    }
    assert_quick(took_ms, "two workers elsewhere");
}

/* A job of --model free: its workers alone know its end. */
Test(quick_ends, workers_with_data_of_their_own)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    uint64_t took_ms[RUNS];
    const char *data = small_data();
    char endpoint[128];
    for (int i = 0; i < RUNS; i++) {
        struct process *server =
            SERVER(endpoint, "--log-level", "info", "--quiet", "--model", "logistic", "--epochs", "1", "--data-mode",
                   "local", "--slots", "2", "--features", "3", "--exit-when-done");
        for (int w = 0; w < 2; w++)
            (void)PROCESS("dp-worker", "--server", endpoint, "--data", data, "--quiet");
        took_ms[i] = goodbye_to_end(server, 2);
    }
    assert_quick(took_ms, "two workers with data of their own");
}

Test(quick_ends, a_signal)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    uint64_t took_ms[RUNS];
    for (int i = 0; i < RUNS; i++) {
        struct process *server = PROCESS("dp-server", QUICK, "--model", "logistic", "--local-workers", "1", "--data",
                                         small_data(), "--epochs", "1000000000");
        process_expect(server, ERR, "worker-joined", MINUTE_MS);
        uint64_t told_ms = mono_ms();
        process_signal(server, SIGTERM);
        cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGTERM);
        took_ms[i] = mono_ms() - told_ms;
    }
    assert_quick(took_ms, "SIGTERM");
}

/* A server that waits for workers has nobody to tell. */
Test(quick_ends, a_signal_before_anybody_came)
{
    NEED_PROGRAMS("dp-server");
    uint64_t took_ms[RUNS];
    char endpoint[128];
    for (int i = 0; i < RUNS; i++) {
        struct process *server = SERVER(endpoint, "--quiet", "--model", "logistic");
        uint64_t told_ms = mono_ms();
        process_signal(server, SIGTERM);
        cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGTERM);
        took_ms[i] = mono_ms() - told_ms;
    }
    assert_quick(took_ms, "SIGTERM without workers");
}
