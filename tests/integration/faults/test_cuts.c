/* Workers whose connections are cut again and again, in the middle of whatever is under way: the job ends with the bits
 * of a job that was left alone; where slots commit on arrival, with each committed once. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/support/conservation.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/proxy.h"

TestSuite(cuts, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum { CASE_MS = 240000, SHARDS = 2, SLOTS = 8, WORKERS = 3, CUTS = 12 };

#define JOB                                                                                                   \
    "--model", "softmax", "--batch", "100", "--epochs", "300", "--lr", "0.002", "--seed", "7", "--optimizer", \
        "momentum", "--exit-when-done", "--json"

static uint16_t port_of(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    cr_assert_not_null(colon, "%s", endpoint);
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

/* A job of one worker that is left alone; its model. */
#define TRAIN_ALONE(data, ...)                                                                                 \
    train_alone((const char *const[]){"--listen", "tcp://127.0.0.1:0", "--local-workers", "1", "--data", data, \
                                      "--export", temp_path("alone.safetensors"), __VA_ARGS__, NULL})

static const char *train_alone(const char *const *args)
{
    struct run_result r = run_program(CASE_MS, "dp-server", args);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return temp_path("alone.safetensors");
}

/* The head and its shards behind the proxy. Time-outs are long, so that they are not the way to find lost messages. */
#define SERVER_BEHIND(proxy, endpoint, ...)                                                           \
    server_behind(proxy, endpoint, sizeof(endpoint),                                                  \
                  (const char *const[]){"--shards", "2", "--log-level", "info", "--speculate", "off", \
                                        "--stall-timeout", "3600", __VA_ARGS__, NULL})

static struct process *server_behind(struct proxy *proxy, char *endpoint, size_t size, const char *const *args)
{
    char real[128];
    struct process *server = server_start(real, sizeof real, args);
    proxy_add(proxy, port_of(real));
    for (int i = 0; i < SHARDS; i++)
        proxy_add(proxy, port_of(process_expect_next(server, ERR, "shard number=", CASE_MS)));
    snprintf(endpoint, size, "tcp://127.0.0.2:%u", port_of(real));
    return server;
}

static uint32_t epochs_told(struct process *server)
{
    uint32_t count = 0;
    for (const char *at = process_output(server, OUT); at && (at = strstr(at, "\"event\":\"epoch\"")); at++)
        count++;
    return count;
}

/* All connections at once, again and again: each time when all workers have joined, and the job goes on. They say so
 * themselves, since the server leaves out lines where there are many in a second. */
static void cut_often(struct process *server, struct process **workers, struct proxy *proxy)
{
    uint32_t seen = 0;
    for (int cut = 0; cut <= CUTS; cut++) {
        for (int i = 0; i < WORKERS; i++)
            process_expect_next(workers[i], ERR, "joined tcp://", CASE_MS);
        for (uint32_t told = epochs_told(server); seen <= told; seen++)
            process_expect_next(server, OUT, "\"event\":\"epoch\"", CASE_MS);
        if (cut < CUTS)
            proxy_cut(proxy);
    }
}

/* The job ends well, after at least `cuts` cuts; frees the proxy. */
static void expect_end(struct process *server, struct process **workers, int count, struct proxy **proxy, unsigned cuts)
{
    for (int i = 0; i < count; i++)
        cr_assert_eq(process_wait(workers[i], CASE_MS), 0, "%s", process_output(workers[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    cr_assert_geq(proxy_cuts(*proxy), cuts, "%u cuts", proxy_cuts(*proxy));
    proxy_free(proxy);
}

/* A job with cuts until it ends; its server, NULL where there is no proxy. */
static struct process *train_with_cuts(const char *consistency, const char *path)
{
    struct proxy *proxy = proxy_new();
    if (!proxy)
        return NULL;
    char endpoint[128];
    const char *train = source_file("tests/data/digits/train.csv.gz");
    struct process *server = SERVER_BEHIND(proxy, endpoint, JOB, "--consistency", consistency, "--export", path);
    struct process *workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        workers[i] = PROCESS("dp-worker", "--server", endpoint, "--data", train, "--emulate-slot-ms", "1");
    cut_often(server, workers, proxy);
    expect_end(server, workers, WORKERS, &proxy, CUTS * WORKERS);
    return server;
}

Test(cuts, bits_do_not_depend_on_them)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *path = temp_path("cut.safetensors");
    if (!train_with_cuts("bsp", path))
        cr_skip_test("this machine has no 127.0.0.2");
    models_assert_same(TRAIN_ALONE(source_file("tests/data/digits/train.csv.gz"), JOB), path);
}

Test(cuts, on_arrival_nothing_is_lost_or_counted_twice)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct process *server = train_with_cuts("ssp:3", temp_path("cut.safetensors"));
    if (!server)
        cr_skip_test("this machine has no 127.0.0.2");
    json_t *done = done_line(process_output(server, OUT));
    done_assert_conserved(done, SLOTS, SHARDS);
    json_decref(done);
}

/* ---- one connection at a time ---- */

/* Shards of several slices, so that a worker has two connections to each. */
#define WIDE_JOB                                                                                                 \
    "--model", "logistic", "--hash-bits", "20", "--batch", "100", "--slots", "2", "--epochs", "40", "--lr", "1", \
        "--seed", "3", "--optimizer", "momentum", "--exit-when-done", "--json"

static const char *wide_data(void)
{
    static char text[100 * 64];
    size_t at = 0;
    for (unsigned long long row = 0; row < 100; row++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d %llu:1 %llu:0.5\n", row % 2 ? 1 : -1,
                               1 + row * 0x123456789abcULL, 1 + row % 3);
    return temp_file("wide.libsvm", text, at);
}

/* A shard that has lost one of a worker's connections goes on by the other. */
Test(cuts, of_one_connection_alone_do_not_change_bits)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    char endpoint[128];
    const char *data = wide_data(), *cut = temp_path("cut.safetensors");
    struct process *server = SERVER_BEHIND(proxy, endpoint, WIDE_JOB, "--shm", "off", "--export", cut), *workers[2];
    for (int i = 0; i < 2; i++)
        workers[i] = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    for (int epoch = 1; epoch < 40; epoch++) {
        process_expect_next(server, OUT, "\"event\":\"epoch\"", CASE_MS);
        proxy_cut_one(proxy);
    }
    expect_end(server, workers, 2, &proxy, 20);
    models_assert_same(TRAIN_ALONE(data, WIDE_JOB), cut);
}

/* ---- silence ---- */

#define SHORT_JOB                                                                                                 \
    "--model", "softmax", "--batch", "100", "--epochs", "40", "--lr", "0.002", "--seed", "7", "--exit-when-done", \
        "--json"

/* Nothing comes by a connection any more, and nothing says so: a worker finds that out by its heartbeats, and goes on
 * by new connections. */
static void train_in_silence(const char *shm, bool same_session)
{
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    char endpoint[128];
    const char *train = source_file("tests/data/digits/train.csv.gz"), *model = temp_path("silent.safetensors");
    struct process *server =
        SERVER_BEHIND(proxy, endpoint, SHORT_JOB, "--lease", "3600", "--shm", shm, "--export", model);
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", train, "--emulate-slot-ms", "1");
    for (int i = 0; i < 2; i++) {
        process_expect_next(server, OUT, "\"event\":\"epoch\"", CASE_MS);
        proxy_silence(proxy);
        process_expect_next(worker, ERR, "can be reached again after", 15000);
    }
    expect_end(server, &worker, 1, &proxy, 0);
    bool again = strstr(process_output(server, ERR), "attempt=2") != NULL;
    cr_assert_eq(again, !same_session, "%s", process_output(server, ERR));
    models_assert_same(TRAIN_ALONE(train, SHORT_JOB), model);
}

Test(cuts, silent_connections_are_made_anew_in_the_same_session)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    train_in_silence("off", true);
}

/* Memory that a session was lent goes with it. */
Test(cuts, silent_connections_beside_shared_memory_are_made_anew)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    train_in_silence("auto", false);
}
