/* Many connections to one shard, against a bare ROUTER that echoes messages of the same sizes, in one run.
 *
 *   bench_clients [CLIENTS [ELEMS [STEPS [ROUNDS]]]]      64 1000 400 3
 *
 * Two processes drive all connections, each a DEALER of its own: they send one push_pull on each and then wait for all
 * answers, step after step. The server is dp-server, with a slot for each client. Prints pushes per second of both; the
 * best of the rounds counts. Thread: main; the echo has one of its own. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "exchange_bench.h"
#include "util.h"
#include "wire_session.h"

enum { DRIVERS = 2, CLIENTS_MAX = 1024, HEADER_MAX = 64, HEADER_BYTES = 40, START_TRIES = 400, SKIP_SHARE = 4 };

struct load {
    uint32_t clients, steps;
    uint64_t elems;
    char endpoint[WIRE_ENDPOINT_MAX];
    bool bare;
};

static void give_up(const char *what)
{
    fprintf(stderr, "bench_clients: %s\n", what);
    exit(EXIT_FAILURE);
}

static void *dealer(void *zmq, const char *endpoint)
{
    void *socket = zmq_socket(zmq, ZMQ_DEALER);
    int none = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    if (!socket || zmq_connect(socket, endpoint))
        give_up("cannot connect");
    return socket;
}

/* Sends a message whose payload is `values`, or none. */
static void say(void *socket, const void *header, size_t bytes, const float *values, uint64_t elems)
{
    if (zmq_send(socket, header, bytes, values ? ZMQ_SNDMORE : 0) < 0 ||
        (values && zmq_send(socket, values, elems * sizeof *values, 0) < 0))
        give_up("cannot send");
}

static void hear(void *socket)
{
    for (int more = 1; more;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, socket, 0) < 0)
            give_up("no answer");
        more = zmq_msg_more(&msg);
        zmq_msg_close(&msg);
    }
}

/* Connections [first, end) of all. */
static void drive(const struct load *load, uint32_t first, uint32_t end)
{
    static struct wire_session sessions[CLIENTS_MAX];
    static void *sockets[CLIENTS_MAX];
    void *zmq = zmq_ctx_new();
    float *values = mem_array_zero(load->elems, sizeof *values);
    char header[HEADER_MAX] = {0};
    zmq_ctx_set(zmq, ZMQ_MAX_SOCKETS, 3 * CLIENTS_MAX);
    for (uint32_t i = first; i < end; i++) {
        if (!load->bare && !wire_session_open(&sessions[i], zmq, load->endpoint, load->clients, load->elems))
            exit(EXIT_FAILURE);
        sockets[i] = dealer(zmq, load->bare ? load->endpoint : sessions[i].shard);
    }
    if (!crew_ready())
        exit(EXIT_FAILURE);
    double start = 0;
    uint32_t skip = load->steps / SKIP_SHARE;
    for (uint32_t step = 0; step < load->steps; step++) {
        if (step == skip)
            start = seconds_now();
        for (uint32_t i = first; i < end; i++) {
            size_t bytes = load->bare ? HEADER_BYTES : wire_header(&sessions[i], step, i, step + 1, 0, header);
            say(sockets[i], header, bytes, values, load->elems);
        }
        for (uint32_t i = first; i < end; i++)
            hear(sockets[i]);
    }
    crew_report((seconds_now() - start) / (load->steps - skip));
    exit(EXIT_SUCCESS);
}

/* Steps per second times clients; negative where it failed. */
static double pushes_per_s(const struct load *load)
{
    struct crew crew;
    if (!crew_init(&crew))
        return -1;
    for (uint32_t d = 0; d < DRIVERS; d++)
        if (crew_fork(&crew) == 0)
            drive(load, load->clients * d / DRIVERS, load->clients * (d + 1) / DRIVERS);
    double seconds = crew_start(&crew) ? crew_result(&crew) : -1;
    return seconds > 0 ? load->clients / seconds : -1;
}

static void echo_main(int endpoints)
{
    char endpoint[WIRE_ENDPOINT_MAX] = "";
    size_t size = sizeof endpoint;
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    mem_keep();
    if (!socket || zmq_bind(socket, "tcp://127.0.0.1:*") ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) ||
        write(endpoints, endpoint, sizeof endpoint) != sizeof endpoint)
        exit(EXIT_FAILURE);
    for (;;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, socket, 0) < 0 || zmq_msg_send(&msg, socket, zmq_msg_more(&msg) ? ZMQ_SNDMORE : 0) < 0)
            exit(EXIT_FAILURE);
    }
}

static double run_bare(struct load load)
{
    int pipes[2];
    if (pipe(pipes))
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        echo_main(pipes[1]);
    double rate = -1;
    load.bare = true;
    if (pid > 0 && read(pipes[0], load.endpoint, sizeof load.endpoint) == sizeof load.endpoint)
        rate = pushes_per_s(&load);
    if (pid > 0 && !kill(pid, SIGKILL))
        waitpid(pid, NULL, 0);
    close(pipes[0]);
    close(pipes[1]);
    return rate;
}

/* A server of the same build; what it needs to know of the job is in `load`. */
static double run_dp(struct load load, const char *self)
{
    struct exchange x = {.transport = "tcp", .workers = load.clients, .shards = 1, .steps = load.steps};
    char path[4096];
    const char *slash = strrchr(self, '/');
    snprintf(path, sizeof path, "%.*s../../server/dp-server", slash ? (int)(slash - self) + 1 : 0, self);
    struct served served;
    double rate = -1;
    if (served_start(&served, &x, path)) {
        (void)str_copy(load.endpoint, sizeof load.endpoint, served.endpoint);
        rate = pushes_per_s(&load);
    }
    served_end(&served);
    return rate;
}

int main(int argc, char **argv)
{
    struct load load = {.clients = argc > 1 ? (uint32_t)atoi(argv[1]) : 64,
                        .elems = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000,
                        .steps = argc > 3 ? (uint32_t)atoi(argv[3]) : 400};
    int rounds = argc > 4 ? atoi(argv[4]) : 3;
    double bare = -1, dp = -1;
    if (load.clients < DRIVERS || load.clients > CLIENTS_MAX || load.elems < 1 || load.steps < SKIP_SHARE)
        give_up("usage: bench_clients [CLIENTS [ELEMS [STEPS [ROUNDS]]]]");
    for (int round = 0; round < rounds; round++) {
        bare = MAX(bare, run_bare(load));
        dp = MAX(dp, run_dp(load, argv[0]));
    }
    printf("%u clients of %llu floats: dp %.0f pushes/s, echo %.0f, dp/echo %.2f\n", load.clients,
           (unsigned long long)load.elems, dp, bare, dp / bare);
    return dp > 0 && bare > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
