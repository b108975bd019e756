/* Tables whose server is started again: rows keep their stamps over another layout, another end of the job and of its
 * schedule. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/support/durable.h"
#include "tests/integration/support/harness.h"

TestSuite(resume_table, .init = harness_init, .fini = harness_fini, .timeout = 240);

/* Few of many features a row, so that most rows of the table are left alone for long. */
static const char *sparse_data(void)
{
    const char *path = temp_path("sparse.svm");
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    for (unsigned row = 0, state = 1; row < 600; row++) {
        fprintf(file, "%d", row % 3 ? 1 : -1);
        for (unsigned i = 0, at = 0; i < 6; i++) {
            state = state * 1664525 + 1013904223;
            at += 1 + state / 65536 % 300;
            fprintf(file, " %u:0.%u", at, 1 + state / 4096 % 999);
        }
        fputc('\n', file);
    }
    cr_assert_eq(fclose(file), 0);
    return path;
}

static void run_sparse(const char *dir, const char *model, const char *data, const char *steps, const char *shards)
{
    struct run_result r =
        RUN(DURABLE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", "--sparse", "--optimizer",
            "ftrl", "--l1", "0.002", "--batch", "50", "--steps", steps, "--shards", shards, "--exit-when-done",
            "--local-workers", "2", "--data", data, "--export", model, "--checkpoint-dir", dir);
    cr_assert_eq(r.status, 0, "%s", r.err);
}

/* Rows of a table move to other shards with their stamps. */
Test(resume_table, another_layout_of_a_table_has_the_same_bits)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const SHARDS[] = {"1", "2", "3"};
    const char *data = sparse_data(), *whole = temp_path("whole");
    run_sparse(temp_path("quiet"), whole, data, "200", "1");
    for (size_t a = 0; a < 3; a++)
        for (size_t b = 0; b < 3; b++) {
            char name[32];
            snprintf(name, sizeof name, "%s-%s", SHARDS[a], SHARDS[b]);
            const char *dir = temp_path(name), *model = temp_path(strcat(name, ".model"));
            run_sparse(dir, model, data, "90", SHARDS[a]);
            run_sparse(dir, model, data, "200", SHARDS[b]);
            models_assert_same(whole, model);
        }
}

static struct process *table_server(const char *dir, const char *steps, const char *model)
{
    return PROCESS("dp-server", "--listen", durable_endpoint(), "--model", "logistic", "--sparse", "--optimizer",
                   "ftrl", "--batch", "50", "--steps", steps, "--exit-when-done", "--json", "--checkpoint-dir", dir,
                   "--checkpoint-every", "20", "--export", model);
}

/* The worker finds rows ahead by the plan; the evaluation of the old end is within an epoch of 12 steps. */
Test(resume_table, a_worker_that_stays_takes_more_steps_of_a_table)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = sparse_data(), *whole = temp_path("whole"), *parts = temp_path("parts"), *dir = temp_path("dir");
    struct process *server = table_server(temp_path("quiet"), "163", whole);
    durable_expect_end(PROCESS("dp-worker", "--server", durable_endpoint(), "--data", data, "--eval", data));
    durable_expect_end(server);
    server = table_server(dir, "101", temp_path("none"));
    struct process *worker =
        PROCESS("dp-worker", "--server", durable_endpoint(), "--data", data, "--eval", data, "--emulate-slot-ms", "2");
    (void)durable_expect_checkpoint(server);
    durable_kill(server);
    server = table_server(dir, "163", parts);
    durable_expect_end(worker);
    durable_expect_end(server);
    models_assert_same(whole, parts);
}

static void run_cosine(const char *dir, const char *model, const char *data, const char *steps, const char *sparse)
{
    struct run_result r =
        RUN(DURABLE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", sparse, "--optimizer",
            "momentum", "--l2", "0.02", "--lr", "0.3", "--lr-schedule", "cosine", "--batch", "50", "--steps", steps,
            "--exit-when-done", "--local-workers", "1", "--data", data, "--export", model, "--checkpoint-dir", dir);
    cr_assert_eq(r.status, 0, "%s", r.err);
}

/* Rows that were left alone catch up by the rates that were in force, and not by those of the new schedule: the model
 * is that of dense tensors, to rounding. */
Test(resume_table, another_end_of_the_schedule)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const STEPS[] = {"60", "90", "200"};
    const char *data = sparse_data(), *dense = temp_path("dense.st"), *sparse = temp_path("sparse.st");
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
        run_cosine(temp_path("dense"), dense, data, STEPS[i], "--sparse=off");
        run_cosine(temp_path("sparse"), sparse, data, STEPS[i], "--sparse=on");
        models_assert_near(dense, sparse, 1e-6);
    }
}
