/* Jobs whose workers share memory with the server have the bits of jobs over sockets, whoever is killed and whoever
 * knocks at the door; and of what they shared nothing is left. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/net/shm.h"
#include "common/net/shm_wire.h"
#include "tests/integration/support/harness.h"

TestSuite(shm, .init = harness_init, .fini = harness_fini, .timeout = 600);

enum { MINUTE_MS = 60000, LOOK_MS = 5 };

#define TRAIN "tests/data/digits/train.csv.gz"
#define TEST "tests/data/digits/test.csv.gz"

/* Whether the model's weights are a table; a flag for each server. */
static const char *weights = "--sparse=off", *intercept = "--intercept=on";

static bool sparse(void)
{
    return strcmp(weights, "--sparse=on") == 0;
}

/* Rows of words with three labels, of which each step touches others. */
static const char *words_file(void)
{
    enum { ROWS = 1400, FEATURES = 3000, ENTRIES = 12, TEXT_MAX = 1 << 18 };
    static char text[TEXT_MAX];
    static const char *path;
    size_t at = 0;
    if (path)
        return path;
    for (unsigned r = 0; r < ROWS; r++) {
        unsigned column = 1 + r * 7919 % 3 * 5;
        at += (size_t)snprintf(text + at, sizeof text - at, "%u", r * 7919 % 3);
        for (unsigned k = 0; k < ENTRIES && column <= FEATURES; k++) {
            at += (size_t)snprintf(text + at, sizeof text - at, " %u:1", column);
            column += 1 + (r * 131 + k * k * 57) % (FEATURES / ENTRIES);
        }
        text[at++] = '\n';
    }
    return path = temp_file("words", text, at);
}

static const char *train_file(void)
{
    return sparse() ? words_file() : source_file(TRAIN);
}

static const char *test_file(void)
{
    return sparse() ? words_file() : source_file(TEST);
}

#define JOB_OF(epochs)                                                                                               \
    "--model", "softmax", weights, intercept, "--batch", "100", "--slots", "8", "--epochs", epochs, "--lr", "0.002", \
        "--optimizer", "momentum", "--l2", "0.001", "--seed", "7", "--exit-when-done", "--json", "--log-level", "info"

static struct process *worker_start(const char *endpoint, const char *shm)
{
    return PROCESS("dp-worker", "--server", endpoint, "--shm", shm, "--data", train_file(), "--eval", test_file(),
                   "--threads", "2");
}

/* The model of a job without shared memory. */
static const char *train_plain(const char *epochs)
{
    const char *path = temp_path("plain.safetensors");
    struct run_result r =
        RUN(3 * MINUTE_MS, "dp-server", "--listen", "tcp://127.0.0.1:0", JOB_OF(epochs), "--shm", "off",
            "--local-workers", "1", "--data", train_file(), "--eval", test_file(), "--export", path);
    cr_assert_eq(r.status, 0, "dp-server ended with %d: %s", r.status, r.err);
    return path;
}

static void expect_end(struct process *process)
{
    cr_assert_eq(process_wait(process, 3 * MINUTE_MS), 0, "%s", process_output(process, ERR));
}

/* A job of workers of which each shares memory or does not. */
static void assert_mixed(const char *want, const char *listen, const char *shards, int count, const char *const *shm)
{
    static int jobs;
    char name[64], least[16];
    snprintf(name, sizeof name, "mixed%d.safetensors", jobs++);
    snprintf(least, sizeof least, "%d", count);
    const char *path = temp_path(name);
    struct process *workers[8];
    struct process *server = PROCESS("dp-server", JOB_OF("3"), "--listen", listen, "--shards", shards, "--min-workers",
                                     least, "--export", path);
    const char *line = process_expect(server, ERR, " listening endpoint=", MINUTE_MS);
    char endpoint[256];
    cr_assert_eq(sscanf(strstr(line, "endpoint="), "endpoint=%255s", endpoint), 1);
    for (int i = 0; i < count; i++)
        workers[i] = worker_start(endpoint, shm[i]);
    expect_end(server);
    for (int i = 0; i < count; i++)
        cr_assert_eq(process_wait(workers[i], MINUTE_MS), 0, "%s", process_output(workers[i], ERR));
    models_assert_same(want, path);
}

static void mixed(void)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    const char *want = train_plain("3");
    char ipc[HARNESS_PATH_MAX + 8];
    snprintf(ipc, sizeof ipc, "ipc://%s", temp_path("socket"));
    assert_mixed(want, "tcp://127.0.0.1:0", "1", 1, (const char *const[]){"on"});
    assert_mixed(want, "tcp://127.0.0.1:0", "3", 2, (const char *const[]){"on", "on"});
    assert_mixed(want, "tcp://127.0.0.1:0", "2", 3, (const char *const[]){"on", "off", "on"});
    assert_mixed(want, ipc, "2", 3, (const char *const[]){"off", "on", "auto"});
}

Test(shm, workers_by_memory_and_by_sockets_in_one_job)
{
    mixed();
}

Test(shm, rows_by_memory_and_by_sockets_in_one_job)
{
    weights = "--sparse=on";
    mixed();
}

/* ---- remains of killed processes ---- */

/* Mappings of shared memory that a process has. */
static int mappings(const struct process *process)
{
    char path[64], line[1024];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%ld/maps", (long)process_pid(process));
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof line, maps))
        count += strstr(line, "/memfd:dp ") != NULL;
    if (maps)
        fclose(maps);
    return count;
}

/* /proc tells of no change: looks again and again. */
static bool mappings_fall_to(const struct process *process, int most)
{
    for (uint64_t end_ms = mono_ms() + MINUTE_MS; mappings(process) > most && mono_ms() < end_ms;)
        (void)poll(NULL, 0, LOOK_MS);
    return mappings(process) <= most;
}

static bool socket_listens(const char *name)
{
    char line[512];
    bool found = false;
    FILE *sockets = fopen("/proc/net/unix", "re");
    while (sockets && fgets(line, sizeof line, sockets))
        found |= strstr(line, name) != NULL;
    if (sockets)
        fclose(sockets);
    return found;
}

/* Name of the first shard's Unix socket. */
static const char *door_name(const char *endpoint)
{
    static char name[SHM_NAME_MAX];
    struct run_result r = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status", "--json");
    const char *at = strstr(r.out, "\"incarnation\":");
    cr_assert_not_null(at, "%s", r.out);
    snprintf(name, sizeof name, "dp-shm-%.16s-0", strchr(at + 14, '"') + 1);
    return name;
}

static void expect_epoch(struct process *server)
{
    process_expect_next(server, OUT, "\"event\":\"epoch\"", MINUTE_MS);
}

static void killed_workers(void)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *want = train_plain("60"), *path = temp_path("killed.safetensors");
    struct process *server = SERVER(endpoint, JOB_OF("60"), "--shards", "2", "--export", path);
    struct process *live[] = {worker_start(endpoint, "on"), worker_start(endpoint, "on"),
                              worker_start(endpoint, "off")};
    for (int k = 0; k < 8; k++) {
        expect_epoch(server);
        process_signal(live[k % 3], SIGKILL);
        cr_assert_eq(process_wait(live[k % 3], MINUTE_MS), 128 + SIGKILL);
        live[k % 3] = worker_start(endpoint, k % 2 ? "off" : "on");
    }
    expect_end(server);
    models_assert_same(want, path);
}

Test(shm, killed_workers_leave_nothing_and_do_not_change_theta)
{
    killed_workers();
}

Test(shm, killed_workers_do_not_change_tables)
{
    weights = "--sparse=on";
    killed_workers();
}

/* Stopped in the middle of its work, given up, and going on: it may have read theta while that was written over. */
static void stopped_worker(void)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *want = train_plain("900"), *path = temp_path("stopped.safetensors");
    struct process *server = SERVER(endpoint, JOB_OF("900"), "--shards", "2", "--lease", "1", "--export", path);
    struct process *workers[] = {worker_start(endpoint, "on"), worker_start(endpoint, "on")};
    process_expect_next(server, ERR, "workers=2", MINUTE_MS);
    expect_epoch(server);
    process_signal(workers[0], SIGSTOP);
    process_expect_next(server, ERR, "worker-gone", MINUTE_MS);
    process_signal(workers[0], SIGCONT);
    expect_end(server);
    for (int i = 0; i < 2; i++)
        expect_end(workers[i]);
    models_assert_same(want, path);
}

Test(shm, a_worker_that_was_given_up_and_goes_on_does_not_change_theta)
{
    stopped_worker();
}

Test(shm, a_worker_that_was_given_up_and_goes_on_does_not_change_tables)
{
    weights = "--sparse=on";
    stopped_worker();
}

static void mappings_of_the_server(void)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB_OF("1000000"), "--shards", "2");
    struct process *stays = worker_start(endpoint, "on");
    expect_epoch(server);
    int planes = 2, before = mappings(server);
    cr_assert_gt(before, planes, "%d mappings", before);
    struct process *goes = worker_start(endpoint, "on");
    process_expect(server, ERR, "workers=2", MINUTE_MS);
    expect_epoch(server);
    expect_epoch(server);
    process_signal(goes, SIGKILL);
    cr_assert_eq(process_wait(goes, MINUTE_MS), 128 + SIGKILL);
    process_expect(server, ERR, "worker-gone", MINUTE_MS);
    /* The other has at most a slab for each slot, of which both shards have a mapping. */
    cr_assert(mappings_fall_to(server, planes + 2 * 8), "%d mappings", mappings(server));
    process_signal(stays, SIGKILL);
    cr_assert_eq(process_wait(stays, MINUTE_MS), 128 + SIGKILL);
    cr_assert(mappings_fall_to(server, planes + 2 * 8), "payloads of the open step at most");
    const char *name = door_name(endpoint);
    cr_assert(socket_listens(name), "%s", name);
    process_signal(server, SIGTERM);
    cr_assert_eq(process_wait(server, MINUTE_MS), 143);
    cr_assert_not(socket_listens(name), "%s", name);
}

Test(shm, the_server_lets_go_of_what_a_killed_worker_passed)
{
    mappings_of_the_server();
}

Test(shm, the_server_lets_go_of_what_rows_were_passed_in)
{
    weights = "--sparse=on";
    mappings_of_the_server();
}

static void killed_server(void)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB_OF("1000000"), "--shards", "2");
    struct process *worker = worker_start(endpoint, "on");
    expect_epoch(server);
    const char *name = door_name(endpoint);
    cr_assert_gt(mappings(worker), 0);
    process_signal(server, SIGKILL);
    cr_assert_eq(process_wait(server, MINUTE_MS), 128 + SIGKILL);
    cr_assert_not(socket_listens(name), "%s", name);
    process_expect(worker, ERR, "joining again", MINUTE_MS);
    cr_assert(mappings_fall_to(worker, 0), "%d mappings", mappings(worker));
    process_signal(worker, SIGTERM);
    cr_assert_eq(process_wait(worker, MINUTE_MS), 143, "%s", process_output(worker, ERR));
}

Test(shm, of_a_killed_server_nothing_is_left_but_workers_that_look_for_it)
{
    killed_server();
}

Test(shm, of_a_killed_server_of_tables_nothing_is_left)
{
    weights = "--sparse=on";
    killed_server();
}

/* ---- modes ---- */

Test(shm, status_tells_who_shares_memory)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB_OF("1000000"), "--lease", "1");
    struct process *sharing = worker_start(endpoint, "on"), *other = worker_start(endpoint, "off");
    struct run_result r = {0};
    bool told = false;
    for (uint64_t end_ms = mono_ms() + MINUTE_MS; !told && mono_ms() < end_ms;) {
        r = RUN(MINUTE_MS, "dp-ctl", "--server", endpoint, "status", "--json");
        const char *in = strstr(r.out, "\"shm_bytes_in\":");
        told = strstr(r.out, "\"transport\":\"shm\"") && strstr(r.out, "\"transport\":\"tcp\"") && in &&
               strtoull(in + 15, NULL, 10) > 0;
    }
    cr_assert(told, "%s", r.out);
    process_signal(sharing, SIGKILL);
    process_signal(other, SIGKILL);
    process_signal(server, SIGKILL);
}

Test(shm, on_is_an_error_with_a_reason_where_it_cannot_be)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    struct process *server = SERVER(endpoint, JOB_OF("3"), "--shm", "off");
    struct process *worker = worker_start(endpoint, "on");
    cr_assert_eq(process_wait(worker, MINUTE_MS), 1);
    cr_assert_not_null(strstr(process_output(worker, ERR), "the server shares no memory"), "%s",
                       process_output(worker, ERR));
    worker = worker_start(endpoint, "auto");
    expect_end(server);
    expect_end(worker);
}

/* ---- short memory ---- */

/* A program that can make no file larger than this, nor memory to share, which the kernel counts as one. */
static struct process *start_short(const char *kib, const char *program, const char *const *args)
{
    const char *all[64] = {"-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", kib, program_path(program)};
    for (size_t i = 0; args[i]; i++)
        all[4 + i] = args[i];
    return process_start("/bin/bash", all);
}

static struct process *server_short(const char *kib, const char *const *args, char *endpoint, size_t size)
{
    struct process *server = start_short(kib, "dp-server", args);
    const char *line = process_expect(server, ERR, " listening endpoint=", MINUTE_MS);
    (void)str_copy(endpoint, size, strstr(line, "endpoint=") + 9);
    endpoint[strcspn(endpoint, " \n")] = '\0';
    return server;
}

/* A server that has no memory for planes and rings says so; its workers use their sockets. */
static void short_server(const char *said)
{
    char endpoint[128];
    const char *want = train_plain("3"), *path = temp_path("short.safetensors");
    struct process *server =
        server_short("56", (const char *const[]){"--listen", "tcp://127.0.0.1:0", JOB_OF("3"), "--export", path, NULL},
                     endpoint, sizeof endpoint);
    struct process *worker = worker_start(endpoint, "auto");
    process_expect(server, ERR, said, MINUTE_MS);
    expect_end(server);
    expect_end(worker);
    models_assert_same(want, path);
}

Test(shm, a_server_without_memory_for_theta_says_so_and_uses_sockets)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    short_server("shared-memory-unused");
}

Test(shm, a_server_without_memory_for_rows_says_so_and_uses_sockets)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    weights = "--sparse=on";
    intercept = "--intercept=off";
    short_server("action=\"rows that find no room go by the socket\"");
}

/* The first shard's half of 1300 parameters takes 64 planes of one page each, the second one's of two. A
 * worker shares memory with all shards or with none. */
Test(shm, a_server_with_memory_for_one_of_two_shards_uses_sockets_for_both)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char endpoint[128];
    const char *path = temp_path("half.safetensors"), *want = temp_path("whole.safetensors");
#define HALF_JOB(path) \
    "--listen", "tcp://127.0.0.1:0", JOB_OF("3"), "--shards", "2", "--classes", "20", "--export", path
    struct run_result r = RUN(MINUTE_MS, "dp-server", HALF_JOB(want), "--shm", "off", "--local-workers", "1", "--data",
                              train_file(), "--eval", test_file());
    cr_assert_eq(r.status, 0, "%s", r.err);
    struct process *server =
        server_short("300", (const char *const[]){HALF_JOB(path), NULL}, endpoint, sizeof endpoint);
    struct process *worker = worker_start(endpoint, "auto");
    process_expect(server, ERR, "shared-memory-unused shard=1", MINUTE_MS);
    expect_end(server);
    expect_end(worker);
    cr_assert_not_null(strstr(process_output(worker, ERR), "parameters come by the socket, not by shared memory"));
    models_assert_same(want, path);
}

/* A worker that has none for its gradients. */
static void short_worker(void)
{
    char endpoint[128];
    const char *want = train_plain("3"), *path = temp_path("short.safetensors");
    struct process *server = SERVER(endpoint, JOB_OF("3"), "--export", path);
    struct process *worker =
        start_short("1", "dp-worker",
                    (const char *const[]){"--server", endpoint, "--data", train_file(), "--eval", test_file(), NULL});
    process_expect(worker, ERR, "gradients go by the socket, not by shared memory", MINUTE_MS);
    expect_end(server);
    expect_end(worker);
    models_assert_same(want, path);
}

Test(shm, a_worker_without_memory_for_gradients_says_so_and_uses_its_socket)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    short_worker();
}

Test(shm, a_worker_without_memory_for_gradients_of_rows_says_so_and_uses_its_socket)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    weights = "--sparse=on";
    short_worker();
}

/* ---- garbage ---- */

static int knock(const char *name)
{
    int fd;
    dp_error err;
    cr_assert_eq(shm_connect(name, &fd, &err), DP_OK, "%s", err.text);
    return fd;
}

/* Waits until the shard has answered or closed the connection, and closes it. */
static void hang_up(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&item, 1, MINUTE_MS), 1);
    close(fd);
}

static void knock_with(const char *name, struct shm_message message, int pass)
{
    int fd = knock(name);
    cr_assert_eq(shm_send(fd, &message, pass), DP_OK);
    hang_up(fd);
}

Test(shm, whoever_knocks_does_no_harm)
{
    NEED_PROGRAMS("dp-server", "dp-worker", "dp-ctl");
    char endpoint[128], noise[4096];
    const char *want = train_plain("300"), *path = temp_path("knocked.safetensors");
    struct process *server = SERVER(endpoint, JOB_OF("300"), "--export", path);
    struct process *worker = worker_start(endpoint, "on");
    process_expect(server, ERR, "worker-joined", MINUTE_MS);
    const char *name = door_name(endpoint);
    memset(noise, 'x', sizeof noise);
    int crowd[64];
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        crowd[i] = knock(name);
    for (size_t bytes = 1; bytes <= sizeof noise; bytes *= 4) {
        int fd = knock(name);
        cr_assert_eq(send(fd, noise, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
        hang_up(fd);
    }
    knock_with(name, (struct shm_message){.kind = SHM_HELLO}, -1);
    knock_with(name, (struct shm_message){.kind = SHM_HELLO, .session = 12345, .incarnation = 1}, -1);
    knock_with(name, (struct shm_message){.kind = SHM_HELLO}, STDERR_FILENO);
    knock_with(name, (struct shm_message){.kind = SHM_SLAB, .slab = 1, .bytes = 4096}, STDERR_FILENO);
    knock_with(name, (struct shm_message){.kind = SHM_SLAB, .slab = 1, .bytes = 4096}, -1);
    knock_with(name, (struct shm_message){.kind = SHM_TAKEN}, -1);
    expect_end(server);
    expect_end(worker);
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        close(crowd[i]);
    models_assert_same(want, path);
}
