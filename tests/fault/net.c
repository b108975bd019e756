/* Jobs whose workers are behind links that fail: work goes on within 2 s of a link's return, theta has the bits of a
 * quiet run, a slow link carries nothing twice, a poor one is no outage.
 *
 * DP_NET_S="5 15 30 70" tries outages of these seconds, one after the other, instead of one of 6 s. Needs root, for
 * network namespaces and tun devices; else all skip. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/fault/link.h"
#include "tests/integration/support/harness.h"

static int server_host, worker_host[2];
static struct fault_link *links[2];
static char why_not[128];

enum {
    CASE_MS = 120000,
    BACK_MS = 2000, /* in which work goes on after a link's return, */
    LOAD_MS = 1500, /* and what a machine that does other things too may take on top */
};

static const struct link_rules WELL = {0}, GONE = {.drop = true};

/* A server's host and two workers'; the reason where there cannot be any. */
static void hosts_init(void)
{
    harness_init();
    server_host = host_new();
    for (uint8_t i = 0; i < 2 && server_host >= 0; i++) {
        worker_host[i] = host_new();
        links[i] = worker_host[i] < 0 ? NULL : fault_link_new(server_host, worker_host[i], (uint8_t)(i + 1));
    }
    if (server_host < 0 || !links[0] || !links[1])
        snprintf(why_not, sizeof why_not, "no network namespaces or tun devices here: %s", strerror(errno));
}

static void hosts_fini(void)
{
    harness_fini();
    for (int i = 0; i < 2; i++)
        fault_link_free(&links[i]);
}

TestSuite(net, .init = hosts_init, .fini = hosts_fini, .timeout = 600);

#define NEED_HOSTS()                             \
    do {                                         \
        NEED_PROGRAMS("dp-server", "dp-worker"); \
        if (why_not[0])                          \
            cr_skip_test("%s", why_not);         \
    } while (0)

enum { ARGS_MAX = 64 };

/* A program on a host; args end with NULL. */
static struct process *host_start(int host, const char *program, const char *const *args)
{
    char net[64];
    const char *list[ARGS_MAX] = {net, program_path(program)};
    size_t count = 2;
    host_argument(host, net, sizeof net);
    for (; *args && count + 1 < ARGS_MAX; args++)
        list[count++] = *args;
    return process_start("/usr/bin/nsenter", list);
}
#define HOST(host, program, ...) host_start(host, program, (const char *const[]){__VA_ARGS__, NULL})

/* A server on its host; the port, which workers reach by their links. */
static struct process *net_server(const char *const *args, char port[8])
{
    const char *list[ARGS_MAX] = {
        "--listen",         "tcp://0.0.0.0:0", "--insecure", "--port-file", temp_path("net.port"),
        "--exit-when-done", "--json",          "-v"};
    size_t count = 8;
    for (; *args && count + 1 < ARGS_MAX; args++)
        list[count++] = *args;
    struct process *server = host_start(server_host, "dp-server", list);
    const char *endpoint = file_expect(temp_path("net.port"), server, CASE_MS);
    cr_assert_not_null(endpoint, "%s", process_output(server, ERR));
    snprintf(port, 8, "%s", strrchr(endpoint, ':') + 1);
    return server;
}
#define NET_SERVER(port, ...) net_server((const char *const[]){__VA_ARGS__, NULL}, port)

static struct process *net_worker(int number, const char *port, const char *data, const char *slot_ms)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://10.77.%d.1:%s", number + 1, port);
    return HOST(worker_host[number], "dp-worker", "--server", endpoint, "--data", data, "--emulate-slot-ms", slot_ms);
}

static void expect_done(struct process *server, struct process *const *workers, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert_eq(process_wait(workers[i], CASE_MS), 0, "%s", process_output(workers[i], ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

/* The same job with one worker and no link: its model. */
static const char *quiet_model(const char *data, const char *const *job)
{
    const char *path = temp_path("quiet.safetensors"),
               *list[ARGS_MAX] = {"--listen", "tcp://127.0.0.1:0", "--local-workers", "1", "--data",
                                  data,       "--exit-when-done",  "--export",        path};
    size_t count = 9;
    for (; *job && count + 1 < ARGS_MAX; job++)
        list[count++] = *job;
    struct run_result r = run_program(CASE_MS, "dp-server", list);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return path;
}

/* ---- outages ---- */

static const char *const DIGITS[] = {"--model", "softmax", "--batch", "100", "--epochs",    "40",       "--lr", "0.002",
                                     "--seed",  "7",       "--slots", "4",   "--optimizer", "momentum", NULL};

/* Lengths of the outages in seconds; the list ends with 0. */
static void outages_of(uint32_t *list, size_t room)
{
    const char *text = getenv("DP_NET_S");
    size_t count = 0;
    for (char *end; text && count + 1 < room; text = end) {
        list[count] = (uint32_t)strtoul(text, &end, 10);
        if (end == text)
            break;
        count++;
    }
    if (count == 0)
        list[count++] = 6;
    list[count] = 0;
}

static void pause_s(uint32_t s)
{
    for (uint64_t end_ms = mono_ms() + s * 1000, now; (now = mono_ms()) < end_ms;)
        (void)poll(NULL, 0, (int)(end_ms - now));
}

static uint32_t epochs_told(struct process *server)
{
    uint32_t count = 0;
    for (const char *at = process_output(server, OUT); at && (at = strstr(at, "\"event\":\"epoch\"")); at++)
        count++;
    return count;
}

/* Waits for one epoch more than have been told, of which `seen` were waited for. */
static uint32_t expect_epoch(struct process *server, uint32_t seen, uint32_t timeout_ms)
{
    for (uint32_t told = epochs_told(server); seen <= told; seen++)
        process_expect_next(server, OUT, "\"event\":\"epoch\"", timeout_ms);
    return seen;
}

/* A job of one worker whose link fails for a while, in a way that is not seen but by silence; `says`: what the worker
 * tells then. */
static void outages(const char *lease, const struct link_rules *there, const struct link_rules *back, const char *says)
{
    char port[8];
    uint32_t list[16], seen = 0;
    const char *data = source_file("tests/data/digits/train.csv.gz"), *model = temp_path("net.safetensors");
    const char *args[ARGS_MAX] = {"--export", model, "--lease", lease};
    memcpy(args + 4, DIGITS, sizeof DIGITS);
    struct process *server = net_server(args, port), *worker = net_worker(0, port, data, "1");
    outages_of(list, ARRAY_LEN(list));
    for (size_t i = 0; list[i]; i++) {
        seen = expect_epoch(server, seen, CASE_MS);
        fault_link_set(links[0], there, back);
        pause_s(list[i]);
        fault_link_set(links[0], &WELL, &WELL);
        seen = expect_epoch(server, seen, BACK_MS + LOAD_MS);
    }
    expect_done(server, &worker, 1);
    process_expect(worker, ERR, says, CASE_MS);
    models_assert_same(quiet_model(data, DIGITS), model);
}

#define SAME_SESSION "can be reached again after"
#define NEW_SESSION "joining again"

Test(net, a_dead_link_in_the_same_session)
{
    NEED_HOSTS();
    outages("3600", &GONE, &GONE, SAME_SESSION);
}

Test(net, a_dead_link_for_longer_than_the_lease)
{
    NEED_HOSTS();
    outages("2", &GONE, &GONE, NEW_SESSION);
}

Test(net, nothing_comes_from_the_server)
{
    NEED_HOSTS();
    outages("3600", &GONE, &WELL, SAME_SESSION);
}

Test(net, nothing_comes_to_the_server)
{
    NEED_HOSTS();
    outages("3600", &WELL, &GONE, SAME_SESSION);
}

/* Connections of before stay dead; new ones pass at once. */
Test(net, a_firewall_that_has_forgotten_its_connections)
{
    NEED_HOSTS();
    const struct link_rules forgets = {.forgets = true};
    char port[8];
    const char *data = source_file("tests/data/digits/train.csv.gz"), *model = temp_path("net.safetensors");
    const char *args[ARGS_MAX] = {"--export", model, "--lease", "3600"};
    memcpy(args + 4, DIGITS, sizeof DIGITS);
    struct process *server = net_server(args, port), *worker = net_worker(0, port, data, "1");
    uint32_t seen = expect_epoch(server, 0, CASE_MS);
    fault_link_set(links[0], &forgets, &forgets);
    process_expect(worker, ERR, SAME_SESSION, 10000);
    (void)expect_epoch(server, seen, CASE_MS);
    expect_done(server, &worker, 1);
    models_assert_same(quiet_model(data, DIGITS), model);
}

/* ---- poor links ---- */

/* 300 ms there and back, with 5 % of packets lost, are no outage: nothing is made anew. */
Test(net, a_poor_link_is_no_outage)
{
    NEED_HOSTS();
    const struct link_rules poor = {.delay_ms = 150, .loss_percent = 5};
    static const char *const JOB[] = {"--model", "softmax", "--batch", "100", "--steps", "24", "--seed", "7", NULL};
    char port[8];
    const char *data = source_file("tests/data/digits/train.csv.gz"), *model = temp_path("net.safetensors");
    const char *args[ARGS_MAX] = {"--export", model};
    memcpy(args + 2, JOB, sizeof JOB);
    fault_link_set(links[0], &poor, &poor);
    struct process *server = net_server(args, port), *worker = net_worker(0, port, data, "0");
    expect_done(server, &worker, 1);
    static const char *const NEVER[] = {"reached again", "joining again", "connecting again", "silent for"};
    for (size_t i = 0; i < ARRAY_LEN(NEVER); i++)
        cr_assert_null(strstr(process_output(worker, ERR), NEVER[i]), "%s", process_output(worker, ERR));
    models_assert_same(quiet_model(data, JOB), model);
}

/* A model of 500001 parameters, one slice of 2 MB, by 1 Mbit/s: 16 s there, 16 s back. */
static const char *wide_data(void)
{
    static char text[64 * 64];
    size_t at = 0;
    for (unsigned row = 0; row < 64; row++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%d %u:1 500000:1\n", row % 2 ? 1 : -1, 1 + row * 7000);
    return temp_file("wide.libsvm", text, at);
}

static const char *const WIDE[] = {"--model", "logistic", "--batch", "64", "--steps", "1", "--seed", "7", NULL};

/* `bytes` of payload may be a hundredth above those that pushes and pulls need: headers, heartbeats. */
static void assert_little_twice(uint64_t bytes, uint64_t needed)
{
    cr_assert(bytes >= needed && bytes < needed + needed / 100, "%llu bytes went through, %llu are needed",
              (unsigned long long)bytes, (unsigned long long)needed);
}

/* Nor is what is on its way a stall. */
Test(net, a_slow_link_carries_nothing_twice)
{
    NEED_HOSTS();
    enum { THETA_BYTES = 2000004, STEPS = 1 };
    const struct link_rules slow = {.rate_kbit = 1000};
    char port[8];
    const char *data = wide_data(), *model = temp_path("net.safetensors");
    const char *args[ARGS_MAX] = {"--export", model, "--stall-timeout", "5", "--on-stall", "fail"};
    memcpy(args + 6, WIDE, sizeof WIDE);
    fault_link_set(links[0], &slow, &slow);
    struct process *server = net_server(args, port), *worker = net_worker(0, port, data, "0");
    expect_done(server, &worker, 1);
    assert_little_twice(fault_link_bytes(links[0], LINK_BACK_HERE), (uint64_t)STEPS * THETA_BYTES);
    assert_little_twice(fault_link_bytes(links[0], LINK_THERE), (uint64_t)STEPS * THETA_BYTES);
    process_expect(server, ERR, " pushes, 0 of them again", CASE_MS);
    models_assert_same(quiet_model(data, WIDE), model);
}

/* Nor where the first of four slices has come, and the others follow. */
Test(net, slices_on_their_way_are_no_stall)
{
    NEED_HOSTS();
    const struct link_rules slow = {.rate_kbit = 8000};
    static const char ROWS[] = "0 1:1 2000000:1\n1 7:1 2000000:1\n";
    char port[8];
    const char *data = temp_file("wider.libsvm", ROWS, sizeof ROWS - 1), *model = temp_path("net.safetensors");
    const char *args[ARGS_MAX] = {"--export", model, "--stall-timeout", "3", "--on-stall", "fail"};
    memcpy(args + 6, WIDE, sizeof WIDE);
    fault_link_set(links[0], &slow, &slow);
    struct process *server = net_server(args, port), *worker = net_worker(0, port, data, "0");
    expect_done(server, &worker, 1);
    cr_assert_null(strstr(process_output(server, ERR), "worker-hung"), "%s", process_output(server, ERR));
    models_assert_same(quiet_model(data, WIDE), model);
}

/* A hole that large packets fall into: heartbeats pass. The worker says so, and goes on when it is closed. */
Test(net, large_packets_that_vanish_are_told)
{
    NEED_HOSTS();
    const struct link_rules hole = {.longest = 600};
    char port[8];
    const char *data = wide_data(), *model = temp_path("net.safetensors"), *args[ARGS_MAX] = {"--export", model};
    memcpy(args + 2, WIDE, sizeof WIDE);
    struct process *server = net_server(args, port), *worker = net_worker(0, port, data, "200");
    process_expect(worker, ERR, "joined ", CASE_MS);
    fault_link_set(links[0], &WELL, &hole);
    process_expect(worker, ERR, "though heartbeats pass: does the way there lose large packets (a wrong MTU)?", 20000);
    fault_link_set(links[0], &WELL, &WELL);
    expect_done(server, &worker, 1);
    models_assert_same(quiet_model(data, WIDE), model);
}
