/* Peers that break the rules of the gate, at the head's port and at a shard's: they are cut off within a bound, memory
 * and descriptors stay where they were, and a job beside them has the bits of a quiet run. */
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "tests/integration/support/raw_peer.h"

TestSuite(gate, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000, SOON_MS = 10000, ENDPOINT_MAX = 128, MIB = 1 << 20 };

#define DATA "tests/data/digits/train.csv.gz"
#define JOB                                                                                                   \
    "--model", "softmax", "--batch", "320", "--slots", "8", "--epochs", "30", "--lr", "0.002", "--seed", "7", \
        "--exit-when-done", "--json", "--stall-timeout", "3600", "--log-level", "info"

static long rss_kib(const struct process *server)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process_pid(server));
    FILE *file = fopen(path, "r");
    cr_assert(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

static void answers(const char *endpoint)
{
    struct run_result r = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status");
    cr_assert_eq(r.status, 0, "%s", r.err);
}

/* A server with two shards that has no job yet; the endpoints of head and first shard. */
static struct process *two_ports(char (*endpoints)[ENDPOINT_MAX])
{
    char head[ENDPOINT_MAX];
    struct process *server =
        SERVER(head, "--model", "linear", "--shards", "2", "--allow-users", "all", "--log-level", "info");
    (void)str_copy(endpoints[0], ENDPOINT_MAX, head);
    const char *line = process_expect(server, ERR, " shard number=0 endpoint=", MINUTE_MS);
    cr_assert_eq(sscanf(strstr(line, "endpoint="), "endpoint=%127s", endpoints[1]), 1);
    return server;
}

/* The peer is refused whether or not it sees the other side's READY before. */
static void refused(const char *endpoint, const void *identity, size_t bytes)
{
    struct raw_peer peer;
    if (raw_connect(&peer, endpoint, identity, bytes))
        cr_expect(raw_closed(&peer, SOON_MS), "an identity of %zu bytes was taken", bytes);
    raw_close(&peer);
}

/* libzmq numbers its peers from rand(), which began with 1. The first peer names itself as the second will be named. */
Test(gate, no_peer_chooses_its_identity)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoints[2][ENDPOINT_MAX];
    struct process *server = two_ports(endpoints);
    static const uint32_t RAND[] = {/* the first numbers of glibc's rand() */
                                    1804289383, 846930886,  1681692777, 1714636915, 1957747793, 424238335,
                                    719885386,  1649760492, 596516649,  1189641421, 1025202362, 1350490027};
    for (size_t i = 0; i < ARRAY_LEN(RAND); i += 2) {
        uint32_t low = RAND[i], number = low | RAND[i + 1] << 31;
        const uint32_t numbers[] = {low, number};
        for (int n = 0; n < 2; n++) {
            uint8_t id[5] = {0};
            struct raw_peer second;
            for (int b = 0; b < 4; b++)
                id[1 + b] = (uint8_t)(numbers[n] >> (24 - 8 * b));
            for (int port = 0; port < 2; port++) {
                refused(endpoints[port], id, sizeof id);
                cr_assert(raw_connect(&second, endpoints[port], NULL, 0), "the server is gone");
                raw_close(&second);
            }
        }
    }
    refused(endpoints[0], "same", 4);
    refused(endpoints[0], "same", 4);
    process_expect(server, ERR, "connections-closed kind=identity count=", SOON_MS);
    answers(endpoints[0]);
}

/* Frames of `bytes` that never end, until the other side has had enough. */
static size_t send_endless(struct raw_peer *peer, size_t bytes, size_t most)
{
    static const uint8_t zeros[1 << 16];
    size_t sent = 0;
    while (sent < most && raw_frame(peer, RAW_MORE, zeros, bytes))
        sent += bytes + 2;
    return sent;
}

static void endless_is_cut(const struct process *server, const char *endpoint, size_t bytes)
{
    enum { MOST = 256 * MIB };
    struct raw_peer peer;
    long before = rss_kib(server);
    cr_assert(raw_connect(&peer, endpoint, NULL, 0));
    size_t sent = send_endless(&peer, bytes, bytes ? MOST : 32 * MIB);
    cr_expect_lt(sent, (size_t)(bytes ? MOST : 32 * MIB), "all of it was taken");
    cr_expect(raw_closed(&peer, SOON_MS));
    cr_expect_lt(rss_kib(server) - before, 4 * 1024);
    raw_close(&peer);
}

Test(gate, a_message_without_an_end_is_cut_off)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoints[2][ENDPOINT_MAX];
    struct process *server = two_ports(endpoints);
    static const size_t SIZES[] = {0, 1, 100, 2048, 1 << 16};
    for (int port = 0; port < 2; port++)
        for (size_t i = 0; i < ARRAY_LEN(SIZES); i++)
            endless_is_cut(server, endpoints[port], SIZES[i]);
    answers(endpoints[0]);
}

/* A session that has not joined yet: its token. */
static uint64_t say_hello(struct raw_peer *peer)
{
    Dp__Hello hello = DP__HELLO__INIT;
    Dp__Header header = DP__HEADER__INIT;
    hello.magic = FRAME_MAGIC;
    hello.protocol_major = FRAME_MAJOR;
    hello.worker = 1;
    hello.name = (char *)"greeted";
    hello.numerics = (char *)"any";
    header.request = 1;
    header.body_case = DP__HEADER__BODY_HELLO;
    header.hello = &hello;
    cr_assert(raw_send(peer, &header, NULL, 0));
    const Dp__Header *answer = raw_receive(peer, MINUTE_MS);
    cr_assert(answer && answer->body_case == DP__HEADER__BODY_WELCOME);
    return answer->session;
}

/* The first bytes of a header of a session, in a frame of `bytes` bytes. */
static bool send_header(struct raw_peer *peer, uint64_t token, uint64_t bytes, int flags)
{
    uint8_t data[9] = {1 << 3 | 1};
    memcpy(data + 1, &token, sizeof token);
    return raw_frame_head(peer, flags, bytes) && raw_write(peer, data, sizeof data);
}

Test(gate, what_may_be_sent_depends_on_the_session)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoints[2][ENDPOINT_MAX];
    struct raw_peer member, peer;
    static const uint8_t zeros[1 << 16];
    (void)two_ports(endpoints);
    cr_assert(raw_connect(&member, endpoints[0], NULL, 0));
    uint64_t token = say_hello(&member);
    cr_assert(raw_connect(&peer, endpoints[0], NULL, 0));
    cr_assert(send_header(&peer, token + 4096, 3 * MIB, 0));
    cr_expect(raw_closed(&peer, SOON_MS), "a token of nobody's");
    raw_close(&peer);
    cr_assert(raw_connect(&peer, endpoints[0], NULL, 0));
    cr_assert(send_header(&peer, token, 3 * MIB, 0));
    cr_expect_not(raw_closed(&peer, 1000), "as a Join with many labels would be");
    raw_close(&peer);
    cr_assert(raw_connect(&peer, endpoints[1], NULL, 0));
    cr_assert(send_header(&peer, token, 40, RAW_MORE) && raw_write(&peer, zeros, 31));
    (void)raw_frame_head(&peer, 0, 1000);
    cr_expect(raw_closed(&peer, SOON_MS), "a payload before it has joined");
    raw_close(&peer);
    cr_expect_not(raw_closed(&member, 100), "its own connection stands");
    raw_close(&member);
}

/* In one test, as each takes its time. */
Test(gate, who_makes_no_progress_is_closed)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoints[2][ENDPOINT_MAX];
    struct process *server = two_ports(endpoints);
    struct raw_peer bare, half, ready, frame, more;
    uint8_t greeting[RAW_GREETING_BYTES];
    raw_greeting(greeting);
    cr_assert(raw_open(&bare, endpoints[0]) && raw_open(&half, endpoints[1]) && raw_open(&ready, endpoints[1]));
    cr_assert(raw_write(&half, greeting, 11) && raw_write(&ready, greeting, sizeof greeting));
    cr_assert(raw_connect(&frame, endpoints[0], NULL, 0) && raw_connect(&more, endpoints[1], NULL, 0));
    cr_assert(raw_frame_head(&frame, 0, 1000) && raw_write(&frame, greeting, 30));
    cr_assert(raw_frame(&more, RAW_MORE, greeting, 30));
    cr_expect_not(raw_closed(&bare, 2000), "it has some time");
    cr_expect(raw_closed(&bare, 20000) && raw_closed(&half, 5000) && raw_closed(&ready, 5000));
    cr_expect_not(raw_closed(&frame, 1));
    cr_expect(raw_closed(&frame, 60000) && raw_closed(&more, 5000));
    process_expect(server, ERR, "kind=slow_handshake", SOON_MS);
    process_expect(server, ERR, "kind=slow_frame", SOON_MS);
    answers(endpoints[0]);
    struct raw_peer *const all[] = {&bare, &half, &ready, &frame, &more};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        raw_close(all[i]);
}

/* ---- a crowd ---- */

enum { CROWD = 1500, FILES_MAX = 4096 };

static struct raw_peer crowd[CROWD];

static bool enough_files(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= FILES_MAX;
}

static struct process *crowded_server(char *endpoint, const char *path)
{
    static const char SCRIPT[] =
        "ulimit -n 128; exec \"$0\" --listen tcp://127.0.0.1:0 --export \"$1\" --port-file \"$2\" \"${@:3}\"";
    const char *port = temp_path("port");
    struct process *server =
        PROCESS("/bin/bash", "-c", SCRIPT, program_path("dp-server"), path, port, JOB, "--shards", "2");
    const char *line = file_expect(port, server, MINUTE_MS);
    cr_assert(line, "%s", process_output(server, ERR));
    (void)str_copy(endpoint, ENDPOINT_MAX, line);
    return server;
}

/* The server has 128 files: all of the crowd would take them ten times over. */
Test(gate, a_worker_comes_in_beside_a_crowd_and_its_bits_are_those_of_a_quiet_run)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[ENDPOINT_MAX];
    const char *path = temp_path("crowded.safetensors"), *quiet = temp_path("quiet.safetensors");
    size_t closed = 0;
    if (!enough_files())
        cr_skip_test("a crowd needs %d open files", FILES_MAX);
    struct process *server = crowded_server(endpoint, path);
    for (size_t i = 0; i < CROWD; i++)
        (void)(i % 2 ? raw_connect(&crowd[i], endpoint, NULL, 0) : raw_open(&crowd[i], endpoint));
    for (size_t i = 0; i < CROWD; i++)
        closed += crowd[i].fd < 0 || raw_closed(&crowd[i], 1);
    cr_expect_geq(closed, CROWD - 128, "%zu of %d", closed, CROWD);
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", source_file(DATA));
    cr_expect_eq(process_wait(worker, 2 * MINUTE_MS), 0, "%s", process_output(worker, ERR));
    cr_assert_eq(process_wait(server, MINUTE_MS), 0, "%s", process_output(server, ERR));
    for (size_t i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    struct run_result r = RUN(MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB, "--local-workers", "1",
                              "--data", source_file(DATA), "--export", quiet);
    cr_assert_eq(r.status, 0, "%s", r.err);
    models_assert_same(quiet, path);
}

/* Its main connection says nothing while it reads its data: that it is a session's, the hello's answer shows. */
Test(gate, a_session_is_not_driven_out_by_a_crowd)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    char endpoints[2][ENDPOINT_MAX];
    struct raw_peer member, stranger;
    if (!enough_files())
        cr_skip_test("a crowd needs %d open files", FILES_MAX);
    (void)two_ports(endpoints);
    cr_assert(raw_connect(&member, endpoints[0], NULL, 0));
    (void)say_hello(&member);
    cr_assert(raw_connect(&stranger, endpoints[0], NULL, 0));
    for (size_t i = 0; i < CROWD; i++)
        (void)raw_connect(&crowd[i], endpoints[0], NULL, 0);
    cr_expect(raw_closed(&stranger, SOON_MS), "the oldest goes first");
    cr_expect_not(raw_closed(&member, 1000));
    for (size_t i = 0; i < CROWD; i++)
        raw_close(&crowd[i]);
    raw_close(&member);
    raw_close(&stranger);
}

/* Connections one after the other leave nothing behind, of whichever kind they are. */
static void connect_many(const char *endpoint, int kind, int count)
{
    for (int i = 0; i < count; i++) {
        struct raw_peer peer;
        if (kind == 0)
            (void)raw_open(&peer, endpoint);
        else if (raw_connect(&peer, endpoint, "same", kind == 1 ? 4 : 0) && kind == 2)
            (void)raw_frame(&peer, RAW_MORE, "half a message", 14);
        raw_close(&peer);
    }
}

/* Memory that a crowd takes at its height stays with the process, so the first rounds may grow. A leak grows in each.
 */
Test(gate, connections_leave_no_memory_behind)
{
    NEED_PROGRAMS("dp-server", "dp-ctl");
    enum { COUNT = 3000, KINDS = 4, BYTES_EACH = 200, ROUNDS = 10 };
    char endpoints[2][ENDPOINT_MAX];
    struct process *server = two_ports(endpoints);
    long grown = LONG_MAX / 1024;
    for (int round = 0; round < ROUNDS && grown * 1024 / (COUNT * KINDS) >= BYTES_EACH; round++) {
        long before = rss_kib(server);
        for (int kind = 0; kind < KINDS; kind++)
            connect_many(endpoints[0], kind, COUNT);
        answers(endpoints[0]);
        grown = round > 0 ? rss_kib(server) - before : LONG_MAX / 1024;
    }
    cr_expect_lt(grown * 1024 / (COUNT * KINDS), BYTES_EACH, "%ld KiB in the last round", grown);
}

/* ---- connections of workers ---- */

static long strangers_of(const char *endpoint)
{
    struct run_result status = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    const char *at = strstr(status.out, "\"strangers\":");
    cr_assert_not_null(at, "%s", status.out);
    return strtol(at + strlen("\"strangers\":"), NULL, 10);
}

/* A model of several slices, for which a worker makes two connections to a shard. */
static void check_known(const char *shm, const char *workers)
{
    char endpoint[ENDPOINT_MAX], line[64];
    snprintf(line, sizeof line, "1 1:1 1200000:1\n-1 2:1\n");
    const char *data = temp_text("wide.svm", line);
    (void)SERVER(endpoint, "--model", "logistic", "--steps", "1000000000", "--shm", shm, "--min-workers", workers,
                 "--stall-timeout", "3600");
    struct process *worker = PROCESS("dp-worker", "--server", endpoint, "--data", data, "--emulate-slot-ms", "100");
    process_expect(worker, ERR, "joined ", MINUTE_MS);
    long strangers = 0;
    for (uint64_t end_ms = mono_ms() + SOON_MS; mono_ms() < end_ms && strangers != 1;)
        strangers = strangers_of(endpoint);
    cr_assert_eq(strangers, 1, "%ld instead of dp-ctl alone", strangers);
}

/* One that says nothing for a minute, since it is of no use or a step is long, would be closed as a stranger's. */
Test(gate, all_connections_of_a_worker_are_known_to_be_its_own)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    check_known("auto", "1");
    check_known("off", "1");
    check_known("off", "2");
}
