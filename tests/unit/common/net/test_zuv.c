/* Sockets on a loop: bursts within a window, departed peers, overlong messages, closing, binding. Every test runs until
 * what it waits for has happened; a stall shows as Criterion's timeout. */
#include "common/net/zuv.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/util.h"
#include "common/net/zuv_bind.h"
#include "common/net/zuv_term.h"
#include "tests/unit/support/leaks.h"

enum { MESSAGES = 20000, WINDOW = 32, QUEUE_MAX = 4 * WINDOW };

/* A server that answers from a timer, and a client with at most WINDOW messages under way, on one loop. */
struct pair {
    uv_loop_t loop;
    void *ctx;
    struct zuv server, client;
    char endpoint[128];
    zmq_msg_t queue[QUEUE_MAX][2]; /* routing id and number, waiting for the timer */
    size_t queued;
    uv_timer_t timer;
    bool late; /* answer from the timer, not from the callback */
    uint32_t sent, answered, received;
    int closed;
};

static void *socket_new(struct pair *p, int type)
{
    void *socket = zmq_socket(p->ctx, type);
    int one = 1, zero = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    if (type == ZMQ_ROUTER)
        zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    return socket;
}

static void pair_init(struct pair *p, zuv_recv on_server, zuv_recv on_client)
{
    *p = (struct pair){0};
    cr_assert_eq(uv_loop_init(&p->loop), 0);
    p->ctx = zmq_ctx_new();
    void *router = socket_new(p, ZMQ_ROUTER), *dealer = socket_new(p, ZMQ_DEALER);
    dp_error err = {0};
    cr_assert_eq(zuv_bind(router, "tcp://127.0.0.1:0", p->endpoint, sizeof p->endpoint, &err), DP_OK, "%s", err.text);
    cr_assert_eq(zmq_connect(dealer, p->endpoint), 0);
    cr_assert_eq(zuv_init(&p->server, &p->loop, router, on_server, p, &err), DP_OK);
    cr_assert_eq(zuv_init(&p->client, &p->loop, dealer, on_client, p, &err), DP_OK);
    uv_timer_init(&p->loop, &p->timer);
    p->timer.data = p;
}

static void on_closed(void *arg)
{
    ((struct pair *)arg)->closed++;
}

/* Closes everything and checks that the loop has nothing left. */
static void pair_fini(struct pair *p)
{
    zuv_close(&p->server, on_closed);
    zuv_close(&p->client, on_closed);
    uv_close((uv_handle_t *)&p->timer, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    cr_assert_eq(p->closed, 2);
    cr_assert_eq(uv_loop_close(&p->loop), 0);
    cr_assert_eq(zmq_ctx_term(p->ctx), 0);
    ASSERT_NO_LEAKS();
}

static void client_fill(struct pair *p)
{
    while (p->sent < MESSAGES && p->sent - p->received < WINDOW) {
        zmq_msg_t frame;
        zmq_msg_init_size(&frame, sizeof p->sent);
        memcpy(zmq_msg_data(&frame), &p->sent, sizeof p->sent);
        dp_err rc = zuv_send(&p->client, &frame, 1);
        cr_assert_eq(rc, DP_OK);
        p->sent++;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct pair *p = timer->data;
    for (size_t i = 0; i < p->queued; i++) {
        cr_assert_eq(zuv_send(&p->server, p->queue[i], 2), DP_OK);
        p->answered++;
    }
    p->queued = 0;
}

static void server_recv(void *arg, zmq_msg_t *frames, size_t count)
{
    struct pair *p = arg;
    cr_assert_eq(count, 2);
    if (!p->late) {
        cr_assert_eq(zuv_send(&p->server, frames, 2), DP_OK);
        p->answered++;
        return;
    }
    cr_assert_lt(p->queued, QUEUE_MAX);
    for (size_t f = 0; f < 2; f++) {
        zmq_msg_init(&p->queue[p->queued][f]);
        zmq_msg_move(&p->queue[p->queued][f], &frames[f]);
    }
    if (p->queued++ == 0)
        uv_timer_start(&p->timer, on_timer, p->received % 3, 0);
}

static void client_recv(void *arg, zmq_msg_t *frames, size_t count)
{
    struct pair *p = arg;
    uint32_t number;
    cr_assert_eq(count, 1);
    cr_assert_eq(zmq_msg_size(&frames[0]), sizeof number);
    memcpy(&number, zmq_msg_data(&frames[0]), sizeof number);
    cr_assert_eq(number, p->received, "answers come in order");
    p->received++;
    if (p->received == MESSAGES)
        uv_stop(&p->loop);
    else
        client_fill(p);
}

static void run_window(bool late)
{
    struct pair p;
    pair_init(&p, server_recv, client_recv);
    p.late = late;
    client_fill(&p);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    cr_assert_eq(p.received, MESSAGES);
    cr_assert_eq(p.answered, MESSAGES);
    pair_fini(&p);
}

Test(zuv, window_answered_at_once, .timeout = 60)
{
    run_window(false);
}

Test(zuv, window_answered_from_a_timer, .timeout = 60)
{
    run_window(true);
}

static void ignore_recv(void *arg, zmq_msg_t *frames, size_t count)
{
    (void)arg;
    (void)frames;
    (void)count;
}

static void stop_recv(void *arg, zmq_msg_t *frames, size_t count)
{
    struct pair *p = arg;
    if (p->received++ == 0) /* the loop may deliver more before it stops */
        zmq_msg_init(&p->queue[0][0]);
    zmq_msg_move(&p->queue[0][0], &frames[0]);
    (void)count;
    uv_stop(&p->loop);
}

static void send_texts(struct zuv *zuv, size_t count)
{
    zmq_msg_t frames[2 * ZUV_FRAMES_MAX];
    for (size_t i = 0; i < count; i++)
        zmq_msg_init_size(&frames[i], 3);
    cr_assert_eq(zuv_send(zuv, frames, count), DP_OK);
}

/* Routing id, one frame, then nobody to read them: nothing of it may be left in the way of the next message. */
Test(zuv, departed_peer, .timeout = 30)
{
    struct pair p;
    pair_init(&p, stop_recv, ignore_recv);
    zmq_msg_t frames[3];
    zmq_msg_init_size(&frames[0], 5);
    memcpy(zmq_msg_data(&frames[0]), "nobod", 5);
    zmq_msg_init_size(&frames[1], 8);
    zmq_msg_init_size(&frames[2], 8);
    cr_assert_eq(zuv_send(&p.server, frames, 3), DP_UNREACHABLE);
    send_texts(&p.client, 1);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    zmq_msg_init(&frames[0]);
    zmq_msg_move(&frames[0], &p.queue[0][0]);
    zmq_msg_init_size(&frames[1], 8);
    cr_assert_eq(zuv_send(&p.server, frames, 2), DP_OK);
    pair_fini(&p);
}

/* The same for a peer that was there. */
static void until_gone(uv_timer_t *timer)
{
    struct pair *p = timer->data;
    zmq_msg_t frames[2];
    zmq_msg_init(&frames[0]);
    zmq_msg_copy(&frames[0], &p->queue[0][0]);
    zmq_msg_init_size(&frames[1], 100);
    dp_err rc = zuv_send(&p->server, frames, 2);
    if (rc == DP_OK)
        return;
    cr_assert_eq(rc, DP_UNREACHABLE);
    zmq_msg_close(&p->queue[0][0]);
    uv_stop(&p->loop);
}

Test(zuv, peer_that_leaves, .timeout = 30)
{
    struct pair p;
    pair_init(&p, stop_recv, ignore_recv);
    send_texts(&p.client, 2);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    zuv_close(&p.client, on_closed);
    uv_timer_start(&p.timer, until_gone, 1, 1);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    pair_fini(&p);
}

/* Overlong ones come without their frames. */
static void overlong_recv(void *arg, zmq_msg_t *frames, size_t count)
{
    struct pair *p = arg;
    (void)frames;
    p->queued += count == 0;
    if (count == 0)
        return;
    p->received++;
    uv_stop(&p->loop);
}

Test(zuv, overlong_message, .timeout = 30)
{
    struct pair p;
    pair_init(&p, overlong_recv, ignore_recv);
    send_texts(&p.client, 2 * ZUV_FRAMES_MAX);
    send_texts(&p.client, ZUV_FRAMES_MAX); /* and the routing id makes one too many */
    send_texts(&p.client, ZUV_FRAMES_MAX - 1);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    cr_assert_eq(p.received, 1);
    cr_assert_eq(p.queued, 2);
    pair_fini(&p);
}

static void close_recv(void *arg, zmq_msg_t *frames, size_t count)
{
    struct pair *p = arg;
    p->received++;
    zuv_close(&p->server, on_closed);
    cr_assert_eq(zuv_send(&p->server, frames, count), DP_SHUTDOWN);
    uv_stop(&p->loop);
}

Test(zuv, close_during_traffic, .timeout = 30)
{
    struct pair p;
    pair_init(&p, close_recv, ignore_recv);
    for (int i = 0; i < 10; i++)
        send_texts(&p.client, 2);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    cr_assert_eq(p.received, 1);
    pair_fini(&p);
}

static void on_released(void *data, void *hint)
{
    (void)data;
    (*(atomic_int *)hint)++;
}

static void busy_send(struct pair *p, atomic_int *released, char *bytes)
{
    zmq_msg_t frame;
    zmq_msg_init_data(&frame, bytes, 1 << 16, on_released, released);
    dp_err rc = zuv_send(&p->client, &frame, 1);
    cr_assert(rc == DP_OK || rc == DP_BUSY);
}

/* Frames that only borrow their bytes give them back: after they were sent, when the queue is full, at the end. */
Test(zuv, borrowed_bytes_are_given_back, .timeout = 30)
{
    static char bytes[1 << 16];
    atomic_int released = 0;
    struct pair p;
    pair_init(&p, stop_recv, ignore_recv);
    for (int i = 0; i < 3000; i++)
        busy_send(&p, &released, bytes);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    zmq_msg_close(&p.queue[0][0]);
    pair_fini(&p);
    cr_assert_eq(released, 3000);
}

/* -- binding -- */

struct bind_case {
    const char *listen;
    dp_err rc;
    const char *says;
};

static const struct bind_case BIND_CASES[] = {
    {"tcp://127.0.0.1:0", DP_OK, "tcp://127.0.0.1:"},
    {"tcp://127.0.0.1:*", DP_OK, "tcp://127.0.0.1:"},
    {"tcp://*:0", DP_OK, "tcp://"},
    {"tcp://localhost:0", DP_OK, "tcp://127.0.0.1:"},
    {"tcp://lo:0", DP_OK, "tcp://127.0.0.1:"},
    {"127.0.0.1:7700", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"tcp://127.0.0.1", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"tcp://:7700", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"tcp://127.0.0.1:port", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"tcp://127.0.0.1:65536", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"tcp://127.0.0.1:123456789", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"udp://127.0.0.1:1", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"ipc://", DP_USAGE, "ipc://PATH"},
    {"", DP_USAGE, "expected tcp://ADDRESS:PORT"},
    {"tcp://192.0.2.1:7700", DP_SYSTEM, "not one of this machine's"},
    {"tcp://no-such-host.invalid:7700", DP_SYSTEM, "not one of this machine's"},
    {"ipc:///nonexistent-folder/socket", DP_SYSTEM, "folder does not exist"},
};

/* Binds a socket of a context that lives for the call. */
static dp_err bind_once(const char *listen, char *endpoint, size_t size, dp_error *err)
{
    void *ctx = zmq_ctx_new();
    void *socket = zmq_socket(ctx, ZMQ_ROUTER);
    int on = 1;
    zmq_setsockopt(socket, ZMQ_IPV6, &on, sizeof on); /* it is set anew, on or off */
    dp_err rc = zuv_bind(socket, listen, endpoint, size, err);
    zmq_close(socket);
    zmq_ctx_term(ctx);
    return rc;
}

Test(zuv, bind_cases, .timeout = 60)
{
    for (size_t i = 0; i < ARRAY_LEN(BIND_CASES); i++) {
        const struct bind_case *c = &BIND_CASES[i];
        char endpoint[128] = "";
        dp_error err = {0};
        cr_assert_eq(bind_once(c->listen, endpoint, sizeof endpoint, &err), c->rc, "%s: %s", c->listen, err.text);
        const char *text = c->rc == DP_OK ? endpoint : err.text;
        cr_assert(strstr(text, c->says), "%s: '%s' does not say '%s'", c->listen, text, c->says);
        cr_assert(c->rc == DP_OK || strstr(text, c->listen), "%s is not named in '%s'", c->listen, text);
    }
}

/* Sends bytes as a stranger does; whether it is sent away. A peer that is not gets no bytes and no end for long. */
static bool sent_away(const char *endpoint, const char *bytes, size_t count)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 5};
    char answer[64];
    ssize_t n;
    to.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    cr_assert(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    cr_assert_eq(write(fd, bytes, count), (ssize_t)count);
    while ((n = read(fd, answer, sizeof answer)) > 0)
        ;
    bool away = n == 0 || errno == ECONNRESET;
    close(fd);
    return away;
}

/* Greetings of ZMTP 1 without and with a version, and of 2; that of 3 is not whole yet. */
Test(zuv, bind_turns_old_peers_away, .timeout = 60)
{
    static const char ONE[] = "\1\0", TWO[] = "\xff\0\0\0\0\0\0\0\1\x7f\1\5\0\0",
                      THREE[] = "\xff\0\0\0\0\0\0\0\1\x7f\3";
    char endpoint[128];
    void *ctx = zmq_ctx_new(), *router = zmq_socket(ctx, ZMQ_ROUTER);
    dp_error err;
    cr_assert_eq(zuv_bind(router, "tcp://127.0.0.1:0", endpoint, sizeof endpoint, &err), DP_OK);
    cr_assert(sent_away(endpoint, ONE, sizeof ONE - 1));
    cr_assert(sent_away(endpoint, TWO, sizeof TWO - 1));
    cr_assert_not(sent_away(endpoint, THREE, sizeof THREE - 1));
    zmq_close(router);
    zmq_ctx_term(ctx);
}

Test(zuv, bind_to_a_taken_port, .timeout = 30)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &length), 0);
    char listen[64], endpoint[64];
    snprintf(listen, sizeof listen, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
    dp_error err = {0};
    cr_assert_eq(bind_once(listen, endpoint, sizeof endpoint, &err), DP_SYSTEM);
    cr_assert(strstr(err.text, "port is taken") && strstr(err.text, listen), "%s", err.text);
    close(fd);
}

Test(zuv, bind_spares_files_and_live_sockets, .timeout = 30)
{
    char folder[] = "/tmp/dp-zuv-XXXXXX", path[64], listen[80], endpoint[128];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(listen, sizeof listen, "ipc://%s", path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    dp_error err = {0};
    cr_assert_eq(bind_once(listen, endpoint, sizeof endpoint, &err), DP_SYSTEM);
    cr_assert(strstr(err.text, "no socket"), "%s", err.text);
    cr_assert_eq(access(path, F_OK), 0);
    unlink(path);

    void *ctx = zmq_ctx_new();
    void *first = zmq_socket(ctx, ZMQ_ROUTER);
    cr_assert_eq(zuv_bind(first, listen, endpoint, sizeof endpoint, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(endpoint, listen);
    cr_assert_eq(bind_once(listen, endpoint, sizeof endpoint, &err), DP_SYSTEM);
    cr_assert(strstr(err.text, "another server"), "%s", err.text);
    zmq_close(first);
    zmq_ctx_term(ctx);
    unlink(path);
    rmdir(folder);
}

/* One that is stopped, with as many before it as may wait: to connect would wait too. */
Test(zuv, bind_does_not_wait_for_a_stopped_server, .timeout = 30)
{
    char folder[] = "/tmp/dp-zuv-XXXXXX", listen_at[128], endpoint[128];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    cr_assert(mkdtemp(folder));
    snprintf(at.sun_path, sizeof at.sun_path, "%s/s", folder);
    snprintf(listen_at, sizeof listen_at, "ipc://%s", at.sun_path);
    int stopped = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), waiting[4];
    cr_assert_eq(bind(stopped, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(stopped, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(waiting[i], (struct sockaddr *)&at, sizeof at);
    }
    dp_error err = {0};
    cr_assert_eq(bind_once(listen_at, endpoint, sizeof endpoint, &err), DP_SYSTEM);
    cr_assert(strstr(err.text, "another server"), "%s", err.text);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        close(waiting[i]);
    close(stopped);
    unlink(at.sun_path);
    rmdir(folder);
}

enum { INTERRUPTIONS = 20 };

static atomic_int interrupted;
static atomic_bool term_over;

static void on_interruption(int signal)
{
    (void)signal;
    atomic_fetch_add(&interrupted, 1);
}

static void *term_main(void *ctx)
{
    zuv_term(ctx);
    atomic_store(&term_over, true);
    return NULL;
}

/* Memory that is freed after the end of a context may be in its threads' hands until then. */
Test(zuv, signals_do_not_cut_the_end_of_a_context_short, .timeout = 30)
{
    const struct sigaction action = {.sa_handler = on_interruption};
    pthread_t thread;
    void *ctx = zmq_ctx_new(), *socket = zmq_socket(ctx, ZMQ_ROUTER);
    cr_assert(socket);
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, term_main, ctx), 0);
    for (int i = 0; i < INTERRUPTIONS; i++) {
        cr_assert_eq(pthread_kill(thread, SIGUSR1), 0);
        while (atomic_load(&interrupted) <= i)
            usleep(1000);
    }
    cr_assert_not(atomic_load(&term_over), "a socket is open");
    zmq_close(socket);
    pthread_join(thread, NULL);
}
