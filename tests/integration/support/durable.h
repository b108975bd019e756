/* Folders of checkpoints, and a job that makes them: slow enough to be killed while it trains, the same bits each time.
 * A failed check fails the test. Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_DURABLE_H
#define DP_TESTS_INTEGRATION_SUPPORT_DURABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/integration/support/harness.h"

enum { DURABLE_MS = 60000, DURABLE_EPOCHS = 40, DURABLE_STEPS = 600 /* of 100 rows of the digits */ };

/* Options of the job but for where it listens, its checkpoints and its export. */
#define DURABLE_JOB                                                                                                   \
    "--model", "softmax", "--batch", "100", "--slots", "4", "--epochs", "40", "--optimizer", "adam", "--l1", "0.001", \
        "--seed", "7", "--exit-when-done"
/* Its workers take some 4 ms for a step. */
#define DURABLE_WORKER(endpoint, data, name) \
    "--server", endpoint, "--data", data, "--name", name, "--emulate-slot-ms", "2", "--server-timeout", "60"

const char *durable_data(void);
/* The model of the job that nothing disturbs. */
const char *durable_quiet_model(void);
/* An endpoint that a server takes again and again: an address of 127/8 that is this process's own. */
const char *durable_endpoint(void);

/* Starts dp-server with DURABLE_JOB, --json and these options, one of which replaces that of the job; returns once it
 * listens. */
struct process *durable_server(const char *dir, const char *const *more);
#define DURABLE_SERVER(dir, ...) durable_server(dir, (const char *const[]){__VA_ARGS__, NULL})
/* The worker `name` of durable_endpoint(). */
struct process *durable_worker(const char *data, const char *name);

/* Waits for the server's next news of a checkpoint; its training steps. */
uint64_t durable_expect_checkpoint(struct process *server);

/* Waits for its end, with 0. */
void durable_expect_end(struct process *process);
/* SIGKILL; waits for its end. */
void durable_kill(struct process *process);
/* Runs the job in DIR with a local worker and other options, pairs of a name and a value; one of them replaces that of
 * the job. */
struct run_result durable_run(const char *dir, const char *model, const char *const *options);
#define DURABLE_RUN(dir, model, ...) durable_run(dir, model, (const char *const[]){__VA_ARGS__, NULL})
/* DIR of a job that was killed on its way, with some checkpoints. */
const char *durable_half_done(void);

/* Names in a folder of checkpoints. */
struct durable_folder {
    uint64_t steps[64]; /* of whole ones, ascending */
    size_t count;
    size_t hidden; /* names with a dot */
};
struct durable_folder durable_list(const char *dir);
/* DIR/step-N/FILE; borrowed until harness_fini. */
const char *durable_file(const char *dir, uint64_t step, const char *file);
/* A folder to be used as DIR, with all files of another that no server uses. */
const char *durable_copy(const char *dir, const char *name);
/* Turns the bits of one byte of a file, `at` from its begin. */
void durable_flip(const char *path, long at);
/* Lines of DIR/log.jsonl with this event. All lines are objects. */
size_t durable_events(const char *dir, const char *event);

#endif
