/* The transport of tcp://HOST:PORT. Thread: any. */
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/deadline.h"
#include "common/base/util.h"
#include "common/net/resolve.h"
#include "common/net/transport.h"

enum { LOOK_MS = 100 /* the stop flag is looked at so often */, ATTEMPT_MS = 1000, ATTEMPTS_MAX = 8 };

/* Digits only, 1..65535; false otherwise. */
static bool port_parse(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;
    size_t length = strlen(text);
    if (length == 0 || length > 5)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    *ret_port = (uint16_t)port;
    return port >= 1 && port <= UINT16_MAX;
}

/* Splits "HOST:PORT" or "[ADDRESS]:PORT"; NULL or what is wrong. */
static const char *host_port_split(const char *text, char *host, const char **ret_port)
{
    bool bracket = text[0] == '[';
    const char *end = bracket ? strchr(text, ']') : strrchr(text, ':');
    if (!end)
        return bracket ? "its [ has no ]" : "it has no port";
    const char *start = text + bracket, *port = bracket ? end + 1 : end;
    size_t length = (size_t)(end - start);
    if (*port != ':')
        return "it has no port";
    if (length == 0)
        return "it has no host";
    if (length >= ENDPOINT_HOST_MAX)
        return "its host is too long";
    if (!bracket && memchr(start, ':', length))
        return "an IPv6 address needs brackets, as in tcp://[::1]:7700";
    memcpy(host, start, length);
    host[length] = '\0';
    *ret_port = port + 1;
    return strpbrk(host, " \t/") ? "its host has a blank or a slash" : NULL;
}

static const char *tcp_parse(const char *rest, struct endpoint *ret_endpoint)
{
    struct endpoint endpoint = {.way = TRANSPORT_TCP};
    const char *port = NULL, *wrong = host_port_split(rest, endpoint.host, &port);
    if (wrong)
        return wrong;
    if (!port_parse(port, &endpoint.port))
        return "its port is not a number from 1 to 65535";
    *ret_endpoint = endpoint;
    return NULL;
}

static void tcp_text(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
    bool bracket = strchr(endpoint->host, ':') != NULL;
    snprintf(text, ENDPOINT_TEXT_MAX, "tcp://%s%s%s:%u", bracket ? "[" : "", endpoint->host, bracket ? "]" : "",
             endpoint->port);
}

/* Names that begin like an address, such as 127.example.org, may lead anywhere. */
static bool tcp_is_local(const char *rest)
{
    static const char *const LOCAL[] = {"localhost:", "[::1]:", "lo:"};
    static const char NET[] = "127.";
    for (size_t i = 0; i < ARRAY_LEN(LOCAL); i++)
        if (strncmp(rest, LOCAL[i], strlen(LOCAL[i])) == 0)
            return true;
    if (strncmp(rest, NET, strlen(NET)) != 0)
        return false;
    const char *end = rest + strlen(NET);
    return end[strspn(end, "0123456789.")] == ':';
}

/* Attempts of one connect, each on a socket of its own: TCP repeats one that is lost only after 1, 2, 4 s, and a link
 * that is back is to be found within a second. An attempt that is under way goes on meanwhile. */
struct attempts {
    struct pollfd items[ATTEMPTS_MAX];
    nfds_t count;
};

static int attempt_start(struct attempts *attempts, const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = connect(fd, address->ai_addr, address->ai_addrlen) ? errno : 0;
    if (error != 0 && error != EINPROGRESS) {
        close(fd);
        return error;
    }
    attempts->items[attempts->count++] = (struct pollfd){.fd = fd, .events = POLLOUT};
    return error;
}

/* Result of the first attempt that has ended: 0 or an errno; EINPROGRESS while none has. */
static int attempts_result(const struct attempts *attempts)
{
    for (nfds_t i = 0; i < attempts->count; i++) {
        int error = 0;
        socklen_t size = sizeof error;
        if (attempts->items[i].revents)
            return getsockopt(attempts->items[i].fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
    }
    return EINPROGRESS;
}

/* Waits for a connection under way, and begins another now and then; 0 or an errno. A signal ends it, and so does the
 * stop flag, which a thread may have set. */
static int attempts_wait(struct attempts *attempts, const struct addrinfo *address, uint64_t deadline_ms,
                         const volatile int *stop)
{
    uint64_t next_ms = mono_ms() + ATTEMPT_MS;
    int error = EINPROGRESS;
    while (error == EINPROGRESS) {
        if (dial_stopped(stop))
            return EINTR;
        if (deadline_left_ms(deadline_ms) == 0)
            return ETIMEDOUT;
        if (mono_ms() >= next_ms && attempts->count < ATTEMPTS_MAX) {
            (void)attempt_start(attempts, address); /* the ones before it may still succeed */
            next_ms = mono_ms() + ATTEMPT_MS;
        }
        if (poll(attempts->items, attempts->count, (int)MIN(deadline_left_ms(deadline_ms), (uint64_t)LOOK_MS)) < 0)
            return errno;
        error = attempts_result(attempts);
    }
    return error;
}

/* 0 or an errno. */
static int connect_once(const struct addrinfo *address, uint64_t deadline_ms, const volatile int *stop)
{
    struct attempts attempts = {.count = 0};
    int error = attempt_start(&attempts, address);
    if (error == EINPROGRESS)
        error = attempts_wait(&attempts, address, deadline_ms, stop);
    for (nfds_t i = 0; i < attempts.count; i++)
        close(attempts.items[i].fd);
    return error;
}

/* The first address that answers, or NULL with the last one's errno. Each has its share of the time that is left, so
 * that one from which nothing comes leaves some to the others. */
static const struct addrinfo *connect_first(const struct addrinfo *list, uint64_t deadline_ms, const volatile int *stop,
                                            int *ret_error)
{
    uint64_t count = 0;
    for (const struct addrinfo *at = list; at; at = at->ai_next)
        count++;
    for (const struct addrinfo *at = list; at && !dial_stopped(stop); at = at->ai_next, count--) {
        *ret_error = connect_once(at, mono_ms() + deadline_left_ms(deadline_ms) / count, stop);
        if (*ret_error == 0)
            return at;
    }
    return NULL;
}

static dp_err tcp_probe(const struct endpoint *endpoint, uint64_t timeout_ms, const volatile int *stop,
                        struct endpoint *ret_address, dp_error *err)
{
    struct addrinfo *list = NULL;
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    if (resolve(endpoint->host, endpoint->port, timeout_ms, &list, err))
        return DP_UNREACHABLE;
    int gai = 0, error = ECONNREFUSED;
    const struct addrinfo *found = connect_first(list, deadline_ms, stop, &error);
    struct endpoint address = {.way = TRANSPORT_TCP, .port = endpoint->port};
    if (found)
        gai =
            getnameinfo(found->ai_addr, found->ai_addrlen, address.host, sizeof address.host, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(list);
    if (!found || gai)
        return dp_fail(err, DP_UNREACHABLE, "%s", found ? gai_strerror(gai) : strerror(error));
    *ret_address = address;
    return DP_OK;
}

/* At the same host, with a port of its own. */
static void tcp_beside(const char *rest, const char *name, char *text, size_t size)
{
    const char *port = strrchr(rest, ':');
    (void)name;
    snprintf(text, size, "tcp://%.*s:0", port ? (int)(port - rest) : (int)strlen(rest), rest);
}

static void tcp_at_host(const char *rest, const char *host, char *text, size_t size)
{
    const char *port = strrchr(rest, ':');
    snprintf(text, size, "tcp://%s%s", host, port ? port : "");
}

const struct transport TRANSPORT_ROW_TCP = {.id = TRANSPORT_TCP,
                                            .name = "tcp",
                                            .scheme = "tcp://",
                                            .has_ports = true,
                                            .parse = tcp_parse,
                                            .text = tcp_text,
                                            .probe = tcp_probe,
                                            .is_local = tcp_is_local,
                                            .beside = tcp_beside,
                                            .at_host = tcp_at_host};
