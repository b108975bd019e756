/* Ports: shards keep to those of --ports, and one that a firewall does not let through is named by worker and server.
 * The proxy is the firewall: a worker that comes by way of 127.0.0.2 reaches the ports that were added to it. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/integration/support/harness.h"
#include "tests/integration/support/proxy.h"

TestSuite(ports, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { CASE_MS = 120000, SHARDS = 3, PORTS = 6, TRIES = 50 };

#define JOB "--model", "linear", "--log-level", "info", "--exit-when-done", "--epochs", "3"

static uint16_t port_of(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    cr_assert_not_null(colon, "%s", endpoint);
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

/* A listening socket, or -1. */
static int listen_at(uint32_t host, uint16_t port, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, backlog) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The first of PORTS free ports in a row; `taken[i]` keeps the i-th of them. Below those that the kernel gives out. */
static uint16_t free_ports(int taken[PORTS])
{
    for (int try = 0; try < TRIES; try++) {
        uint16_t first = (uint16_t)(10000 + (getpid() * 37 + try * 101) % 20000);
        int got = 0;
        while (got < PORTS && (taken[got] = listen_at(INADDR_LOOPBACK, (uint16_t)(first + got), 1)) >= 0)
            got++;
        if (got == PORTS)
            return first;
        while (got-- > 0)
            close(taken[got]);
    }
    cr_assert_fail("no %d free ports in a row", PORTS);
    return 0;
}

static void give_back(int *taken, int from, int to)
{
    for (int i = from; i < to; i++)
        if (taken[i] >= 0)
            close(taken[i]);
}

static const char *data(void)
{
    return temp_text("data.svm", "1 1:1 2:2\n2 1:2 2:1\n3 1:1 99:1\n4 1:3 200:1\n");
}

static uint16_t shard_port(struct process *server)
{
    return port_of(process_expect_next(server, ERR, "shard number=", CASE_MS));
}

/* In order, around one that another program has, and around the head's own. */
Test(ports, shards_take_those_of_the_range_in_order)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char range[32], listen[64];
    int taken[PORTS];
    uint16_t first = free_ports(taken);
    give_back(taken, 0, 1);
    give_back(taken, 2, PORTS);
    snprintf(range, sizeof range, "%u-%u", first, first + PORTS - 1);
    snprintf(listen, sizeof listen, "tcp://127.0.0.1:%u", first + 2);
    struct process *server = PROCESS("dp-server", JOB, "--shards", "3", "--listen", listen, "--ports", range);
    cr_assert_eq(shard_port(server), first);
    cr_assert_eq(shard_port(server), first + 3);
    cr_assert_eq(shard_port(server), first + 4);
    struct run_result r = RUN(CASE_MS, "dp-worker", "--server", listen, "--data", data());
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    close(taken[1]);
}

Test(ports, a_range_that_is_used_up_names_the_port)
{
    NEED_PROGRAMS("dp-server");
    char range[32], text[128];
    int taken[PORTS];
    uint16_t first = free_ports(taken);
    give_back(taken, 0, 1);
    give_back(taken, 2, PORTS);
    snprintf(range, sizeof range, "%u-%u", first, first + 2);
    struct run_result r =
        RUN(CASE_MS, "dp-server", JOB, "--shards", "3", "--listen", "tcp://127.0.0.1:0", "--ports", range);
    cr_assert_eq(r.status, 1, "%s", r.err);
    snprintf(text, sizeof text,
             "option --ports %s: no port is left for shard 2 of --shards 3; port %u, for one, is in use", range,
             first + 1);
    cr_assert_not_null(strstr(r.err, text), "%s", r.err);
    close(taken[1]);
}

/* ---- one port ---- */

/* Every worker comes by the head's port, through a tunnel from another one, and the server listens nowhere else. */
static void one_port(const char *const *job)
{
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    char real[128], endpoint[64];
    struct process *server = server_start(real, sizeof real, job);
    cr_assert_eq(shard_port(server), port_of(real));
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.2:%u", proxy_tunnel(proxy, port_of(real)));
    struct process *first = PROCESS("dp-worker", "--server", endpoint, "--data", data(), "--shm", "off");
    struct process *second = PROCESS("dp-worker", "--server", endpoint, "--data", data(), "--shm", "off");
    cr_assert_eq(process_wait(first, CASE_MS), 0, "%s", process_output(first, ERR));
    cr_assert_eq(process_wait(second, CASE_MS), 0, "%s", process_output(second, ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    proxy_free(&proxy);
}

Test(ports, one_shard_needs_one)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    one_port((const char *const[]){JOB, "--min-workers", "2", NULL});
}

Test(ports, one_shard_of_a_table_needs_one)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    one_port((const char *const[]){JOB, "--min-workers", "2", "--sparse", NULL});
}

/* --advertise is for shards elsewhere, --ports for more than one. */
Test(ports, one_shard_takes_none_of_the_range)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    one_port((const char *const[]){JOB, "--min-workers", "2", "--ports", "1-1", "--advertise", "no-such-host.invalid",
                                   NULL});
}

/* A worker under the name of one whose connection is gone takes its place at once, with its number; under that of one
 * that is there it is another. */
Test(ports, one_port_knows_who_is_connected)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server =
        SERVER(endpoint, "--model", "linear", "--log-level", "info", "--steps", "1000000000", "--lease", "3600");
    struct process *a = PROCESS("dp-worker", "--server", endpoint, "--data", data(), "--name", "a");
    process_expect_next(server, ERR, "worker-joined worker=\"a\"", CASE_MS);
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", data(), "--name", "a");
    const char *line = process_expect_next(server, ERR, "worker-hello worker=\"a\"", CASE_MS);
    cr_assert_not_null(strstr(line, "number=1 attempt=1"), "%s", line);
    process_expect_next(server, ERR, "worker-joined worker=\"a\" workers=2", CASE_MS);
    process_signal(a, SIGKILL);
    (void)process_wait(a, CASE_MS);
    line = process_expect_next(server, ERR, "worker-gone worker=\"a\" reason=\"", CASE_MS);
    cr_assert_not_null(strstr(line, "its connection is gone"), "%s", line);
    (void)PROCESS("dp-worker", "--server", endpoint, "--data", data(), "--name", "a");
    line = process_expect_next(server, ERR, "worker-hello worker=\"a\"", CASE_MS);
    cr_assert_not_null(strstr(line, "number=0 attempt=2"), "%s", line);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 143);
}

/* ---- ports that cannot be reached ---- */

/* A server whose head alone is let through; the ports of its shards. */
static struct process *server_behind(struct proxy *proxy, uint16_t shards[SHARDS], char *endpoint, size_t size)
{
    char real[128];
    struct process *server = server_start(real, sizeof real, (const char *const[]){JOB, "--shards", "3", NULL});
    proxy_add(proxy, port_of(real));
    for (int i = 0; i < SHARDS; i++)
        shards[i] = shard_port(server);
    snprintf(endpoint, size, "tcp://127.0.0.2:%u", port_of(real));
    return server;
}

/* The worker says it at once and ends in time; the server says it meanwhile, and works with another one. */
static void expect_named(struct process *server, const char *endpoint, int shard, uint16_t port, const char *why)
{
    char text[256], name[32];
    struct process *worker =
        PROCESS("dp-worker", "--server", endpoint, "--data", data(), "--connect-timeout", "7", "--name", "outside");
    snprintf(name, sizeof name, "shard %d at ", shard);
    snprintf(text, sizeof text,
             "shard %d at tcp://127.0.0.2:%u cannot be reached: %s (the head at %s answers); is the port open? see "
             "dp-server --ports",
             shard, port, why, endpoint);
    const char *line = process_expect(server, ERR, "shard-unreachable worker=\"outside\"", CASE_MS);
    cr_assert_not_null(strstr(line, text), "%s", line);
    cr_assert_not(process_ended(worker, 0), "it goes on trying");
    line = process_expect(worker, ERR, "trying for another", CASE_MS);
    cr_assert_not_null(strstr(line, text), "%s", line);
    cr_assert_eq(process_wait(worker, CASE_MS), 69, "%s", process_output(worker, ERR));
    cr_assert_not_null(strstr(process_output(worker, ERR), text), "%s", process_output(worker, ERR));
}

static void expect_another(struct process *server)
{
    char inside[64];
    const char *listening = process_expect(server, ERR, "listening endpoint=", CASE_MS);
    cr_assert_eq(sscanf(strstr(listening, "endpoint="), "endpoint=%63s", inside), 1);
    struct run_result r = RUN(CASE_MS, "dp-worker", "--server", inside, "--data", data());
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
}

Test(ports, one_that_is_refused_is_named)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    uint16_t shards[SHARDS];
    char endpoint[128];
    struct process *server = server_behind(proxy, shards, endpoint, sizeof endpoint);
    proxy_add(proxy, shards[0]);
    expect_named(server, endpoint, 1, shards[1], "connection refused");
    expect_another(server);
    proxy_free(&proxy);
}

/* A full queue of connections drops what comes, as such firewalls do. */
Test(ports, one_that_drops_what_comes_is_named)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    uint16_t shards[SHARDS];
    char endpoint[128];
    struct process *server = server_behind(proxy, shards, endpoint, sizeof endpoint);
    proxy_add(proxy, shards[0]);
    proxy_add(proxy, shards[1]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
    to.sin_port = htons(shards[2]);
    int wall = listen_at(INADDR_LOOPBACK + 1, shards[2], 0), crowd[2];
    cr_assert_geq(wall, 0);
    for (int i = 0; i < 2; i++) {
        crowd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(crowd[i], (struct sockaddr *)&to, sizeof to);
    }
    expect_named(server, endpoint, 2, shards[2], "connection timed out");
    expect_another(server);
    close(crowd[0]);
    close(crowd[1]);
    close(wall);
    proxy_free(&proxy);
}

/* A port that is opened while the worker tries is used. */
Test(ports, one_that_is_opened_is_used)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    uint16_t shards[SHARDS];
    char endpoint[128];
    struct process *server = server_behind(proxy, shards, endpoint, sizeof endpoint);
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", data());
    for (int i = 0; i < SHARDS; i++) {
        char text[64];
        snprintf(text, sizeof text, "shard %d at tcp://127.0.0.2:%u cannot be reached", i, shards[i]);
        process_expect_next(worker, ERR, text, CASE_MS);
        proxy_add(proxy, shards[i]);
    }
    cr_assert_eq(process_wait(worker, CASE_MS), 0, "%s", process_output(worker, ERR));
    cr_assert_eq(process_wait(server, CASE_MS), 0, "%s", process_output(server, ERR));
    proxy_free(&proxy);
}

/* In the midst of a job, while the head can be reached: both sides say it, the job goes on elsewhere, and once the port
 * is open again the worker is part of it. */
Test(ports, one_that_is_closed_later_is_named)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    struct proxy *proxy = proxy_new();
    if (!proxy)
        cr_skip_test("this machine has no 127.0.0.2");
    uint16_t shards[SHARDS];
    char endpoint[128], real[128], text[64];
    struct process *server =
        server_start(real, sizeof real,
                     (const char *const[]){"--model", "linear", "--log-level", "info", "--steps", "1000000000",
                                           "--shards", "3", "--stall-timeout", "3600", NULL});
    proxy_add(proxy, port_of(real));
    for (int i = 0; i < SHARDS; i++) {
        shards[i] = shard_port(server);
        proxy_add(proxy, shards[i]);
    }
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.2:%u", port_of(real));
    struct process *inside = PROCESS("dp-worker", "--server", real, "--data", data(), "--name", "inside");
    process_expect_next(server, ERR, "worker-joined", CASE_MS);
    struct process *worker =
        PROCESS("dp-worker", "--server", endpoint, "--data", data(), "--name", "outside", "--shm", "off");
    process_expect_next(server, ERR, "worker-joined worker=\"outside\"", CASE_MS);
    process_expect(worker, ERR, "joined ", CASE_MS);
    proxy_remove(proxy, shards[1]);
    snprintf(text, sizeof text, "shard 1 at tcp://127.0.0.2:%u cannot be reached", shards[1]);
    process_expect(worker, ERR, "lost the connection to shard", CASE_MS);
    process_expect(worker, ERR, text, CASE_MS);
    const char *line = process_expect_next(server, ERR, "shard-unreachable worker=\"outside\"", CASE_MS);
    cr_assert_not_null(strstr(line, text), "%s", line);
    proxy_add(proxy, shards[1]);
    process_expect(worker, ERR, "shard 1 can be reached", CASE_MS);
    process_expect_next(server, ERR, "worker-joined worker=\"outside\"", CASE_MS);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, CASE_MS), 143);
    (void)inside;
    proxy_free(&proxy);
}
