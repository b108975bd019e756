/* A TCP proxy that cuts connections. Invariant: everything but the atomics belongs to the thread that forwards; ports
 * are handed to it through `added`. */
#include "tests/integration/support/proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"

enum { PORTS_MAX = 16, PIPES_MAX = 256, BUFFER_BYTES = 1 << 16, POLL_MS = 5 };

/* One direction of a connection. */
struct pipe {
    int from, to; /* -1: free */
    struct pipe *back;
    uint16_t port;
    bool silent; /* it carries nothing any more */
    size_t first, count;
    char buffer[BUFFER_BYTES];
};

struct proxy {
    pthread_t thread;
    atomic_bool stop, cut, cut_one, silence;
    size_t cut_last; /* pipe that was cut alone last */
    atomic_uint cuts;
    _Atomic uint32_t added, removed, tunnel; /* ports on their way to the thread; 0: none */
    _Atomic uint32_t tunnelled;              /* the first byte of the tunnel */
    int listeners[PORTS_MAX];
    uint16_t ports[PORTS_MAX];
    size_t port_count;
    struct pipe pipes[PIPES_MAX];
};

static struct sockaddr_in address(uint32_t host, uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host)};
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in at = address(INADDR_LOOPBACK + 1, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 64)) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct pipe *pipe_free_one(struct proxy *proxy)
{
    for (size_t i = 0; i < PIPES_MAX; i++)
        if (proxy->pipes[i].from < 0)
            return &proxy->pipes[i];
    return NULL;
}

static struct pipe *pipe_open(struct proxy *proxy, int from, int to)
{
    struct pipe *pipe = pipe_free_one(proxy);
    cr_assert_not_null(pipe, "more connections than expected");
    pipe->from = from;
    pipe->to = to;
    pipe->first = pipe->count = 0;
    pipe->silent = false;
    return pipe;
}

static void pipe_close(struct pipe *pipe)
{
    close(pipe->from);
    close(pipe->to);
    pipe->back->from = -1;
    pipe->from = -1;
}

/* The server is on this machine: a blocking connect ends at once. */
static void accept_one(struct proxy *proxy, size_t i)
{
    struct sockaddr_in at = address(INADDR_LOOPBACK, proxy->ports[i]);
    int client = accept4(proxy->listeners[i], NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (client < 0)
        return;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(server, (struct sockaddr *)&at, sizeof at)) {
        close(client);
        close(server);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct pipe *there = pipe_open(proxy, client, server), *back = pipe_open(proxy, server, client);
    there->back = back;
    back->back = there;
    there->port = back->port = proxy->ports[i];
}

/* Moves what can be moved; false where the connection has ended. */
static bool pipe_move(struct pipe *pipe)
{
    if (pipe->silent)
        return true;
    if (pipe->count == 0) {
        ssize_t n = recv(pipe->from, pipe->buffer, sizeof pipe->buffer, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return false;
        pipe->first = 0;
        pipe->count = n > 0 ? (size_t)n : 0;
    }
    if (pipe->count > 0) {
        ssize_t n = send(pipe->to, pipe->buffer + pipe->first, pipe->count, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        pipe->first += n > 0 ? (size_t)n : 0;
        pipe->count -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void pipe_cut(struct proxy *proxy, struct pipe *pipe)
{
    pipe_close(pipe);
    atomic_fetch_add(&proxy->cuts, 1);
}

static void cut_all(struct proxy *proxy)
{
    for (size_t i = 0; i < PIPES_MAX; i++)
        if (proxy->pipes[i].from >= 0)
            pipe_cut(proxy, &proxy->pipes[i]);
}

static void silence_all(struct proxy *proxy)
{
    for (size_t i = 0; i < PIPES_MAX; i++)
        proxy->pipes[i].silent = proxy->pipes[i].from >= 0;
}

static void cut_next(struct proxy *proxy)
{
    for (size_t i = 1; i <= PIPES_MAX; i++) {
        struct pipe *pipe = &proxy->pipes[(proxy->cut_last + i) % PIPES_MAX];
        if (pipe->from < 0)
            continue;
        proxy->cut_last = (size_t)(pipe->back - proxy->pipes); /* connections that come again may have their places */
        pipe_cut(proxy, pipe);
        return;
    }
}

/* At a port of its own. */
static void add_tunnel(struct proxy *proxy, uint16_t port)
{
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    int fd = listen_at(0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    proxy->ports[proxy->port_count] = port;
    proxy->listeners[proxy->port_count++] = fd;
    atomic_store(&proxy->tunnelled, ntohs(at.sin_port));
}

static void remove_port(struct proxy *proxy, uint16_t port)
{
    for (size_t i = 0; i < proxy->port_count; i++)
        if (proxy->ports[i] == port && proxy->listeners[i] >= 0) {
            close(proxy->listeners[i]);
            proxy->listeners[i] = -1;
        }
    for (size_t i = 0; i < PIPES_MAX; i++)
        if (proxy->pipes[i].from >= 0 && proxy->pipes[i].port == port)
            pipe_cut(proxy, &proxy->pipes[i]);
}

/* A full pipe waits until its other end takes something, an empty one until there is something. */
static void wait_for_any(const struct proxy *proxy)
{
    struct pollfd items[PORTS_MAX + PIPES_MAX];
    nfds_t count = 0;
    for (size_t i = 0; i < proxy->port_count; i++)
        items[count++] = (struct pollfd){.fd = proxy->listeners[i], .events = POLLIN};
    for (size_t i = 0; i < PIPES_MAX; i++) {
        const struct pipe *pipe = &proxy->pipes[i];
        if (pipe->from >= 0 && !pipe->silent)
            items[count++] =
                (struct pollfd){.fd = pipe->count ? pipe->to : pipe->from, .events = pipe->count ? POLLOUT : POLLIN};
    }
    (void)poll(items, count, POLL_MS);
}

static void *proxy_run(void *arg)
{
    struct proxy *proxy = arg;
    while (!atomic_load(&proxy->stop)) {
        uint32_t port = atomic_load(&proxy->added);
        if (port) {
            proxy->ports[proxy->port_count] = (uint16_t)port;
            proxy->listeners[proxy->port_count++] = listen_at((uint16_t)port);
            atomic_store(&proxy->added, 0);
        }
        port = atomic_load(&proxy->tunnel);
        if (port) {
            add_tunnel(proxy, (uint16_t)port);
            atomic_store(&proxy->tunnel, 0);
        }
        port = atomic_load(&proxy->removed);
        if (port) {
            remove_port(proxy, (uint16_t)port);
            atomic_store(&proxy->removed, 0);
        }
        if (atomic_exchange(&proxy->cut, false))
            cut_all(proxy);
        if (atomic_exchange(&proxy->cut_one, false))
            cut_next(proxy);
        if (atomic_exchange(&proxy->silence, false))
            silence_all(proxy);
        for (size_t i = 0; i < proxy->port_count; i++)
            accept_one(proxy, i);
        for (size_t i = 0; i < PIPES_MAX; i++)
            if (proxy->pipes[i].from >= 0 && !pipe_move(&proxy->pipes[i]))
                pipe_close(&proxy->pipes[i]);
        wait_for_any(proxy);
    }
    cut_all(proxy);
    for (size_t i = 0; i < proxy->port_count; i++)
        if (proxy->listeners[i] >= 0)
            close(proxy->listeners[i]);
    return NULL;
}

struct proxy *proxy_new(void)
{
    int probe = listen_at(0);
    if (probe < 0)
        return NULL;
    close(probe);
    struct proxy *proxy = mem_array_zero(1, sizeof *proxy);
    for (size_t i = 0; i < PIPES_MAX; i++)
        proxy->pipes[i].from = -1;
    proxy->cut_last = PIPES_MAX - 1;
    cr_assert_eq(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
    return proxy;
}

void proxy_add(struct proxy *proxy, uint16_t port)
{
    atomic_store(&proxy->added, port);
    while (atomic_load(&proxy->added))
        (void)poll(NULL, 0, 1);
}

uint16_t proxy_tunnel(struct proxy *proxy, uint16_t port)
{
    atomic_store(&proxy->tunnel, port);
    while (atomic_load(&proxy->tunnel))
        (void)poll(NULL, 0, 1);
    return (uint16_t)atomic_load(&proxy->tunnelled);
}

void proxy_remove(struct proxy *proxy, uint16_t port)
{
    atomic_store(&proxy->removed, port);
    while (atomic_load(&proxy->removed))
        (void)poll(NULL, 0, 1);
}

void proxy_cut(struct proxy *proxy)
{
    atomic_store(&proxy->cut, true);
}

void proxy_cut_one(struct proxy *proxy)
{
    atomic_store(&proxy->cut_one, true);
}

void proxy_silence(struct proxy *proxy)
{
    atomic_store(&proxy->silence, true);
    while (atomic_load(&proxy->silence))
        (void)poll(NULL, 0, 1);
}

unsigned proxy_cuts(const struct proxy *proxy)
{
    return atomic_load(&proxy->cuts);
}

void proxy_free(struct proxy **ref)
{
    struct proxy *proxy = *ref;
    if (!proxy)
        return;
    atomic_store(&proxy->stop, true);
    pthread_join(proxy->thread, NULL);
    free(proxy);
    *ref = NULL;
}
