/* Many connections to one shard, and to a bare ROUTER that echoes messages of the same sizes.
 *
 * Two processes drive all connections, each a DEALER of its own: they send one push_pull on each and then wait for all
 * answers, step after step. The server is dp-server, with a slot for each client; they send no heartbeats, so its lease
 * is long. Thread: main; the echo is a process of its own. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "tests/bench/exchange/bench.h"
#include "tests/integration/support/wire_session.h"

enum { DRIVERS = 2, HEADER_MAX = 64, HEADER_BYTES = 40 };

struct load {
    const struct exchange *x;
    char endpoint[WIRE_ENDPOINT_MAX];
    bool bare;
};

static void give_up(const char *what)
{
    fprintf(stderr, "bench_exchange: %s\n", what);
    exit(EXIT_FAILURE);
}

static void *dealer(void *zmq, const char *endpoint)
{
    void *socket = zmq_socket(zmq, ZMQ_DEALER);
    int none = 0, patience_ms = 30000;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
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

/* Connects [first, end) of all. Slots are dealt once all have joined. */
static void drive_open(const struct load *load, uint32_t first, uint32_t end, struct wire_session *sessions,
                       void **sockets, uint32_t *slots)
{
    void *zmq = zmq_ctx_new();
    zmq_ctx_set(zmq, ZMQ_MAX_SOCKETS, 3 * EXCHANGE_CLIENTS_MAX);
    for (uint32_t i = first; i < end; i++) {
        if (!load->bare && !wire_session_open(&sessions[i], zmq, load->endpoint, load->x->workers, load->x->elems))
            exit(EXIT_FAILURE);
        sockets[i] = dealer(zmq, load->bare ? load->endpoint : sessions[i].shard);
    }
    for (uint32_t i = first; i < end && !load->bare; i++)
        if (!wire_session_slot(&sessions[i], &slots[i]))
            exit(EXIT_FAILURE);
}

/* A process that drives connections [first, end). */
static void drive(const struct load *load, uint32_t first, uint32_t end)
{
    static struct wire_session sessions[EXCHANGE_CLIENTS_MAX];
    static void *sockets[EXCHANGE_CLIENTS_MAX];
    static uint32_t slots[EXCHANGE_CLIENTS_MAX];
    float *values = mem_array_zero(load->x->elems, sizeof *values);
    char header[HEADER_MAX] = {0};
    double start = 0;
    drive_open(load, first, end, sessions, sockets, slots);
    if (!values || !crew_ready())
        exit(EXIT_FAILURE);
    for (uint32_t step = 0; step < load->x->skip + load->x->steps; step++) {
        if (step == load->x->skip)
            start = seconds_now();
        for (uint32_t i = first; i < end; i++) {
            size_t bytes = load->bare ? HEADER_BYTES : wire_header(&sessions[i], step, slots[i], step + 1, 0, header);
            say(sockets[i], header, bytes, values, load->x->elems);
        }
        for (uint32_t i = first; i < end; i++)
            hear(sockets[i]);
    }
    crew_report((seconds_now() - start) / load->x->steps);
    exit(EXIT_SUCCESS);
}

static double drivers_run(const struct load *load)
{
    struct crew crew;
    if (!crew_init(&crew))
        return -1;
    for (uint32_t d = 0; d < DRIVERS; d++)
        if (crew_fork(&crew) == 0)
            drive(load, load->x->workers * d / DRIVERS, load->x->workers * (d + 1) / DRIVERS);
    return crew_start(&crew) ? crew_result(&crew) : -1;
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

double clients_bare(const struct exchange *x)
{
    struct load load = {.x = x, .bare = true};
    int pipes[2];
    if (pipe(pipes))
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        echo_main(pipes[1]);
    double seconds = -1;
    if (pid > 0 && read(pipes[0], load.endpoint, sizeof load.endpoint) == sizeof load.endpoint)
        seconds = drivers_run(&load);
    if (pid > 0 && !kill(pid, SIGKILL))
        waitpid(pid, NULL, 0);
    close(pipes[0]);
    close(pipes[1]);
    return seconds;
}

double clients_dp(const struct exchange *x, const char *server_path)
{
    struct load load = {.x = x};
    struct served served;
    double seconds = -1;
    if (served_start(&served, x, server_path)) {
        (void)str_copy(load.endpoint, sizeof load.endpoint, served.endpoint);
        seconds = drivers_run(&load);
    }
    served_end(&served);
    return seconds;
}
