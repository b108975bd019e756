/* The strongest test there is: whatever happens to the cluster, theta has the same bits. Jobs run with other numbers of
 * workers, shards and threads, with workers killed in the middle and others started, and against a single-threaded loop
 * in this file. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kernels/kernels.h"
#include "common/tensor/plan.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"
#include "common/tensor/tensor.h"
#include "tests/integration/support/harness.h"
#include "worker/data/data.h"

TestSuite(bitwise, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000 };

#define TRAIN "tests/data/digits/train.csv.gz"
#define TEST "tests/data/digits/test.csv.gz"

/* Options of the job whose bits are compared: a partial last minibatch, momentum, L2, evaluation. */
#define JOB                                                                                                  \
    "--model", "softmax", "--batch", "100", "--slots", "8", "--epochs", "3", "--lr", "0.002", "--optimizer", \
        "momentum", "--l2", "0.001", "--seed", "7", "--exit-when-done", "--quiet"

/* Runs the job with local workers; returns the model's path. */
static const char *train_local(const char *name, const char *workers, const char *shards, const char *threads)
{
    const char *path = temp_path(name);
    struct run_result r =
        RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--local-workers", workers, "--shards",
            shards, "--threads", threads, "--data", source_file(TRAIN), "--eval", source_file(TEST), "--export", path);
    cr_assert_eq(r.status, 0, "dp-server ended with %d: %s", r.status, r.err);
    return path;
}

Test(bitwise, any_number_of_workers_shards_and_threads)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    static const char *const WORKERS[] = {"1", "2", "3", "5"}, *const SHARDS[] = {"1", "2", "3"};
    const char *want = train_local("want.safetensors", "1", "1", "1");
    for (size_t w = 0; w < 4; w++)
        for (size_t s = 0; s < 3; s++) {
            char name[64];
            snprintf(name, sizeof name, "w%s-s%s.safetensors", WORKERS[w], SHARDS[s]);
            models_assert_same(want, train_local(name, WORKERS[w], SHARDS[s], w == 1 ? "3" : "1"));
        }
}

Test(bitwise, evaluation_does_not_change_theta)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *with = train_local("with.safetensors", "2", "2", "1"), *without = temp_path("without.safetensors");
    struct run_result r = RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--local-workers", "2",
                              "--data", source_file(TRAIN), "--export", without);
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(with, without);
}

static struct process *start_worker(const char *endpoint)
{
    return PROCESS("dp-worker", "--server", endpoint, "--data", source_file(TRAIN), "--eval", source_file(TEST));
}

/* Waits until the job has come to another epoch: a line of the progress that was not there before. */
static void expect_progress(struct process *server)
{
    process_expect_next(server, OUT, "\"event\":\"epoch\"", MINUTE_MS);
}

#define LONG_JOB                                                                                               \
    "--model", "softmax", "--batch", "100", "--slots", "8", "--epochs", "240", "--lr", "0.002", "--optimizer", \
        "momentum", "--l2", "0.001", "--seed", "7", "--exit-when-done", "--json"

/* A job with workers of its own: after each of `kills` epochs one is killed and another started. */
static const char *train_killing(const char *name, const char *shards, int workers, int kills)
{
    char endpoint[128];
    const char *path = temp_path(name);
    struct process *live[8];
    struct process *server = SERVER(endpoint, LONG_JOB, "--shards", shards, "--export", path);
    for (int i = 0; i < workers; i++)
        live[i] = start_worker(endpoint);
    for (int k = 0; k < kills; k++) {
        expect_progress(server);
        process_signal(live[k % workers], SIGKILL);
        cr_assert_eq(process_wait(live[k % workers], MINUTE_MS), 128 + SIGKILL);
        live[k % workers] = start_worker(endpoint);
    }
    cr_assert_eq(process_wait(server, 3 * MINUTE_MS), 0, "%s", process_output(server, ERR));
    return path;
}

Test(bitwise, workers_killed_and_others_started)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *want = train_killing("quiet.safetensors", "1", 1, 0);
    models_assert_same(want, train_killing("killed2.safetensors", "2", 2, 4));
    models_assert_same(want, train_killing("killed3.safetensors", "3", 3, 6));
    models_assert_same(want, train_killing("killed1.safetensors", "2", 1, 2));
}

/* A local worker that is killed is started again by the server. */
Test(bitwise, a_killed_local_worker_is_replaced)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *want = train_killing("quiet.safetensors", "1", 1, 0), *path = temp_path("replaced.safetensors");
    struct process *server =
        SERVER(endpoint, LONG_JOB, "--local-workers", "2", "--data", source_file(TRAIN), "--eval", source_file(TEST),
               "--log-level", "info", "--emulate-slot-ms", "1", "--export", path);
    const char *line = process_expect(server, ERR, "local-worker-started", MINUTE_MS);
    const char *pid = strstr(line, "pid=");
    cr_assert_not_null(pid);
    expect_progress(server);
    cr_assert_eq(kill((pid_t)strtol(pid + 4, NULL, 10), SIGKILL), 0);
    process_expect(server, ERR, "local-worker-died", MINUTE_MS);
    line = process_expect(server, ERR, "attempt=2", MINUTE_MS);
    cr_assert_not_null(strstr(line, "worker-hello worker=\"local-"), "%s", line);
    cr_assert_eq(process_wait(server, 3 * MINUTE_MS), 0, "%s", process_output(server, ERR));
    models_assert_same(want, path);
}

/* ---- the reference: minibatch SGD in plain loops ---- */

enum { SLOTS = 8, FEATURES = 123 };

struct reference {
    struct data data;
    struct plan plan;
    float w[FEATURES + 1]; /* weight, bias */
};

/* Sum of the logistic gradients of one slot, row by row, feature by feature. */
static bool slot_gradient(const struct reference *ref, const struct plan_step *at, uint32_t slot, float *g)
{
    uint64_t first, count, rows[4096];
    plan_slot(&ref->plan, at, slot, &first, &count);
    plan_rows(&ref->plan, at, first, count, rows);
    memset(g, 0, (FEATURES + 1) * sizeof *g);
    for (uint64_t i = 0; i < count; i++) {
        const struct data *d = &ref->data;
        float s = 0, y = d->labels[rows[i]] > 0 ? 1.0f : -1.0f, e, bias = ref->w[FEATURES];
        for (uint64_t j = d->row_at[rows[i]]; j < d->row_at[rows[i] + 1]; j++)
            s += d->values[j] * ref->w[d->columns[j]];
        s += bias;
        float margin = y * s, x = margin > 0 ? -margin : margin;
        kernels_ref.exp(1, &x, &e);
        float r = -y * (margin > 0 ? e / (1.0f + e) : 1.0f / (1.0f + e));
        for (uint64_t j = d->row_at[rows[i]]; j < d->row_at[rows[i] + 1]; j++)
            g[d->columns[j]] += r * d->values[j];
        g[FEATURES] += r;
    }
    return count > 0;
}

/* Adds up slots [first, first + width) as a binary tree, in place in g[first]. */
static bool add_up(float g[SLOTS][FEATURES + 1], bool *there, uint32_t first, uint32_t width)
{
    if (width == 1)
        return there[first];
    bool left = add_up(g, there, first, width / 2), right = add_up(g, there, first + width / 2, width / 2);
    for (int j = 0; right && j <= FEATURES; j++)
        g[first][j] = left ? g[first][j] + g[first + width / 2][j] : g[first + width / 2][j];
    return left || right;
}

static void reference_train(struct reference *ref, float lr, float l2)
{
    static float g[SLOTS][FEATURES + 1];
    for (uint64_t step = 0; step < plan_total(&ref->plan); step++) {
        struct plan_step at = plan_at(&ref->plan, step);
        bool there[SLOTS];
        for (uint32_t k = 0; k < SLOTS; k++)
            there[k] = slot_gradient(ref, &at, k, g[k]);
        add_up(g, there, 0, SLOTS);
        float inv = (float)(1.0 / (double)at.rows);
        for (int j = 0; j <= FEATURES; j++)
            ref->w[j] -= lr * (g[0][j] * inv + (j < FEATURES ? l2 : 0.0f) * ref->w[j]);
    }
}

Test(bitwise, a_single_threaded_loop_has_the_same_bits)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *data = shared_file("data/a9a"), *path = temp_path("a9a.safetensors");
    if (!data)
        cr_skip_test("the shared data (a9a) are absent");
    static struct reference ref;
    struct data_source source = {.path = data, .features = FEATURES};
    struct safetensors model;
    dp_error err;
    cr_assert_eq(data_read(&source, &ref.data, &err), DP_OK, "%s", err.text);
    ref.plan = (struct plan){.seed = 5, .train_rows = ref.data.rows, .batch = 1000, .train_steps = 70, .slots = SLOTS};
    reference_train(&ref, 0.3f, 1e-4f);
    struct run_result r =
        RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", "--model", "logistic", "--features", "123", "--l2",
            "1e-4", "--lr", "0.3", "--batch", "1000", "--steps", "70", "--seed", "5", "--shards", "2",
            "--local-workers", "3", "--data", data, "--exit-when-done", "--quiet", "--export", path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(safetensors_read(path, &model, &err), DP_OK, "%s", err.text);
    cr_assert_eq(tensors_total(&model.tensors), FEATURES + 1);
    uint64_t weight = tensors_offset(&model.tensors, (uint32_t)safetensors_find(&model, "weight"));
    uint64_t bias = tensors_offset(&model.tensors, (uint32_t)safetensors_find(&model, "bias"));
    cr_assert_eq(memcmp(model.theta + weight, ref.w, FEATURES * sizeof(float)), 0, "weight");
    cr_assert_eq(memcmp(model.theta + bias, &ref.w[FEATURES], sizeof(float)), 0, "bias");
    safetensors_fini(&model);
    data_fini(&ref.data);
}
