/* Workers whose connections are cut again and again, in the middle of whatever is under way: the job ends with the bits
 * of a job that was left alone; where slots commit on arrival, with each committed once. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conservation.h"
#include "harness.h"
#include "proxy.h"

TestSuite(cuts, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { CASE_MS = 120000, SHARDS = 2, SLOTS = 8, WORKERS = 3, CUTS = 12 };

#define JOB                                                                                                   \
    "--model", "softmax", "--batch", "100", "--epochs", "300", "--lr", "0.002", "--seed", "7", "--optimizer", \
        "momentum", "--exit-when-done", "--json"

static uint16_t port_of(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    cr_assert_not_null(colon, "%s", endpoint);
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

static const char *train_alone(const char *train)
{
    const char *path = temp_path("alone.safetensors");
    struct run_result r = RUN(CASE_MS, "dp-server", JOB, "--listen", "tcp://127.0.0.1:0", "--local-workers", "1",
                              "--data", train, "--export", path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return path;
}

/* The head and its shards, which it tells of, by way of the proxy. */
static void put_behind(struct proxy *proxy, struct process *server, const char *real, char *endpoint, size_t size)
{
    proxy_add(proxy, port_of(real));
    for (int i = 0; i < SHARDS; i++)
        proxy_add(proxy, port_of(process_expect_next(server, ERR, "shard number=", CASE_MS)));
    snprintf(endpoint, size, "tcp://127.0.0.2:%u", port_of(real));
}

/* What was lost is not to be found by way of a time-out. */
static struct process *server_behind(struct proxy *proxy, const char *consistency, const char *path, char *endpoint,
                                     size_t size)
{
    char real[128];
    struct process *server = SERVER(real, JOB, "--shards", "2", "--log-level", "info", "--consistency", consistency,
                                    "--speculate", "off", "--stall-timeout", "3600", "--export", path);
    put_behind(proxy, server, real, endpoint, size);
    return server;
}

static uint32_t epochs_told(struct process *server)
{
    uint32_t count = 0;
    for (const char *at = process_output(server, OUT); at && (at = strstr(at, "\"event\":\"epoch\"")); at++)
        count++;
    return count;
}

/* All connections at once, again and again: each time when both workers are there, and the job goes on. */
static void cut_often(struct process *server, struct proxy *proxy)
{
    uint32_t seen = 0;
    for (int cut = 0; cut <= CUTS; cut++) {
        for (int i = 0; i < WORKERS; i++)
            process_expect_next(server, ERR, "worker-joined", CASE_MS);
        for (uint32_t told = epochs_told(server); seen <= told; seen++)
            process_expect_next(server, OUT, "\"event\":\"epoch\"", CASE_MS);
        if (cut < CUTS)
            proxy_cut(proxy);
    }
}

/* A job with cuts until it ends; its server, NULL where there is no proxy. */
static struct process *train_with_cuts(const char *consistency, const char *path)
{
    struct proxy *proxy = proxy_new();
    if (!proxy)
        return NULL;
    char endpoint[128];
    const char *train = source_file("tests/data/digits/train.csv.gz");
    struct process *server = server_behind(proxy, consistency, path, endpoint, sizeof endpoint);
    struct process *workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        workers[i] = PROCESS("dp-worker", "--server", endpoint, "--data", train, "--emulate-slot-ms", "1");
    cut_often(server, proxy);
    for (int i = 0; i < WORKERS; i++)
        cr_assert_eq(process_wait(workers[i], CASE_MS), 0, "%s", process_output(workers[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    cr_assert_geq(proxy_cuts(proxy), CUTS * WORKERS, "%u cuts", proxy_cuts(proxy));
    proxy_free(&proxy);
    return server;
}

Test(cuts, bits_do_not_depend_on_them)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *path = temp_path("cut.safetensors");
    if (!train_with_cuts("bsp", path))
        cr_skip_test("this machine has no 127.0.0.2");
    models_assert_same(train_alone(source_file("tests/data/digits/train.csv.gz")), path);
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
        "--seed", "3", "--shards", "2", "--optimizer", "momentum", "--shm", "off", "--exit-when-done", "--json"

static const char *wide_data(void)
{
    static char text[100 * 64];
    size_t at = 0;
    for (unsigned long long row = 0; row < 100; row++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d %llu:1 %llu:0.5\n", row % 2 ? 1 : -1,
                               1 + row * 0x123456789abcULL, 1 + row % 3);
    return temp_file("wide.libsvm", text, at);
}

/* A shard that has lost one of a worker's connections goes on by the other: nothing may wait for what went by the lost
 * one, nor be taken for lost that did not. */
Test(cuts, of_one_connection_alone_do_not_change_bits)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    char real[128], endpoint[128];
    const char *data = wide_data(), *whole = temp_path("whole.safetensors"), *cut = temp_path("cut.safetensors");
    struct run_result r = RUN(CASE_MS, "dp-server", WIDE_JOB, "--listen", "tcp://127.0.0.1:0", "--local-workers", "1",
                              "--data", data, "--export", whole);
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct process *server = SERVER(real, WIDE_JOB, "--log-level", "info", "--export", cut), *workers[2];
    put_behind(proxy, server, real, endpoint, sizeof endpoint);
    for (int i = 0; i < 2; i++)
        workers[i] = PROCESS("dp-worker", "--server", endpoint, "--data", data);
    for (int epoch = 1; epoch < 40; epoch++) {
        process_expect_next(server, OUT, "\"event\":\"epoch\"", CASE_MS);
        proxy_cut_one(proxy);
    }
    for (int i = 0; i < 2; i++)
        cr_assert_eq(process_wait(workers[i], CASE_MS), 0, "%s", process_output(workers[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    cr_assert_geq(proxy_cuts(proxy), 20, "%u cuts", proxy_cuts(proxy));
    proxy_free(&proxy);
    models_assert_same(whole, cut);
}
