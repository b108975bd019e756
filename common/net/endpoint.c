/* Endpoints: syntax, addresses, and the reason why one cannot be reached. Thread: any. */
#include "common/net/endpoint.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/deadline.h"
#include "common/base/util.h"
#include "common/net/resolve.h"

enum {
    LOOK_MS = 100 /* the stop flag is looked at so often */,
    QUEUE_WAIT_MS = 20,
    ATTEMPT_MS = 1000,
    ATTEMPTS_MAX = 8
};

static const char SCHEME[] = "tcp://", IPC_SCHEME[] = "ipc://";

static dp_err endpoint_bad(const char *text, const char *what, dp_error *err)
{
    return dp_fail(err, DP_USAGE,
                   "'%.200s' is no endpoint: %s; give tcp://HOST:PORT, such as tcp://127.0.0.1:7700, or "
                   "ipc://PATH",
                   text, what);
}

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

/* Whether the text names a Unix socket; then *ret_endpoint is one unless the path cannot be. */
static bool ipc_parse(const char *text, struct endpoint *ret_endpoint, const char **ret_wrong)
{
    struct endpoint endpoint = {.ipc = true};
    const char *path = text + strlen(IPC_SCHEME);
    if (strncmp(text, IPC_SCHEME, strlen(IPC_SCHEME)) != 0)
        return false;
    *ret_wrong = NULL;
    if (path[0] == '\0' || strcmp(path, "@") == 0)
        *ret_wrong = "it has no path";
    else if (strlen(path) >= sizeof((struct sockaddr_un){0}).sun_path)
        *ret_wrong = "its path is too long for a socket";
    else if (str_copy(endpoint.host, sizeof endpoint.host, path))
        *ret_endpoint = endpoint;
    return true;
}

dp_err endpoint_parse(const char *text, struct endpoint *ret_endpoint, dp_error *err)
{
    struct endpoint endpoint = {0};
    const char *port = NULL, *wrong;
    if (ipc_parse(text, ret_endpoint, &wrong))
        return wrong ? endpoint_bad(text, wrong, err) : DP_OK;
    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0)
        return endpoint_bad(text, "it does not begin with tcp:// or ipc://", err);
    wrong = host_port_split(text + strlen(SCHEME), endpoint.host, &port);
    if (wrong)
        return endpoint_bad(text, wrong, err);
    if (!port_parse(port, &endpoint.port))
        return endpoint_bad(text, "its port is not a number from 1 to 65535", err);
    if (strcmp(endpoint.host, "*") == 0)
        return endpoint_bad(text, "a client needs the name or address of the server's host", err);
    *ret_endpoint = endpoint;
    return DP_OK;
}

dp_err endpoint_parse_shard(const char *text, const char *head_host, struct endpoint *ret_endpoint, dp_error *err)
{
    static const char *const ANY[] = {"*", "0.0.0.0", "::"};
    struct endpoint endpoint = {0};
    const char *port = NULL, *wrong;
    if (ipc_parse(text, ret_endpoint, &wrong) && !wrong)
        return DP_OK;
    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0 || host_port_split(text + strlen(SCHEME), endpoint.host, &port) ||
        !port_parse(port, &endpoint.port))
        return dp_fail(err, DP_PROTO, "the server named '%.200s' as the endpoint of a shard", text);
    for (size_t i = 0; i < ARRAY_LEN(ANY); i++)
        if (strcmp(endpoint.host, ANY[i]) == 0)
            str_copy(endpoint.host, sizeof endpoint.host, head_host);
    *ret_endpoint = endpoint;
    return DP_OK;
}

void endpoint_text(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
    bool bracket = strchr(endpoint->host, ':') != NULL;
    if (endpoint->ipc) {
        snprintf(text, ENDPOINT_TEXT_MAX, "ipc://%s", endpoint->host);
        return;
    }
    snprintf(text, ENDPOINT_TEXT_MAX, "tcp://%s%s%s:%u", bracket ? "[" : "", endpoint->host, bracket ? "]" : "",
             endpoint->port);
}

static bool is_stopped(const volatile int *stop)
{
    return stop && __atomic_load_n(stop, __ATOMIC_RELAXED);
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
        if (is_stopped(stop))
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

/* Connects to a Unix socket; 0 or an errno. One whose queue is full says so at once, and is tried again. */
static int connect_ipc(const char *path, uint64_t deadline_ms, const volatile int *stop)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    memcpy(to.sun_path, path, length);
    if (path[0] == '@') /* an abstract name begins with a zero and has no other */
        to.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (path[0] != '@'));
    int error = connect(fd, (const struct sockaddr *)&to, size) ? errno : 0;
    while (error == EAGAIN && deadline_left_ms(deadline_ms) > 0 && !is_stopped(stop)) {
        (void)poll(NULL, 0, QUEUE_WAIT_MS);
        error = connect(fd, (const struct sockaddr *)&to, size) ? errno : 0;
    }
    close(fd);
    return error == EAGAIN ? ETIMEDOUT : error;
}

/* The first address that answers, or NULL with the last one's errno. Each has its share of the time that is left, so
 * that one from which nothing comes leaves some to the others. */
static const struct addrinfo *connect_first(const struct addrinfo *list, uint64_t deadline_ms, const volatile int *stop,
                                            int *ret_error)
{
    uint64_t count = 0;
    for (const struct addrinfo *at = list; at; at = at->ai_next)
        count++;
    for (const struct addrinfo *at = list; at && !is_stopped(stop); at = at->ai_next, count--) {
        *ret_error = connect_once(at, mono_ms() + deadline_left_ms(deadline_ms) / count, stop);
        if (*ret_error == 0)
            return at;
    }
    return NULL;
}

/* strerror begins with a capital; the reason stands in the middle of a line. */
static dp_err probe_fail(const char *reason, dp_error *err)
{
    char text[128];
    str_copy(text, sizeof text, reason);
    if (text[0] && islower((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
    return dp_fail(err, DP_UNREACHABLE, "%s", text);
}

dp_err endpoint_probe(const struct endpoint *endpoint, uint64_t timeout_ms, const volatile int *stop,
                      struct endpoint *ret_address, dp_error *err)
{
    struct addrinfo *list = NULL;
    uint64_t deadline_ms = mono_ms() + timeout_ms;
    if (endpoint->ipc) {
        int why = connect_ipc(endpoint->host, deadline_ms, stop);
        if (why)
            return probe_fail(strerror(why), err);
        *ret_address = *endpoint;
        return DP_OK;
    }
    dp_error why;
    if (resolve(endpoint->host, endpoint->port, timeout_ms, &list, &why))
        return probe_fail(why.text, err);
    int gai = 0, error = ECONNREFUSED;
    const struct addrinfo *found = connect_first(list, deadline_ms, stop, &error);
    struct endpoint address = {.port = endpoint->port};
    if (found)
        gai =
            getnameinfo(found->ai_addr, found->ai_addrlen, address.host, sizeof address.host, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(list);
    if (!found)
        return probe_fail(strerror(error), err);
    if (gai)
        return probe_fail(gai_strerror(gai), err);
    *ret_address = address;
    return DP_OK;
}
