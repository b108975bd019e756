/* Binding a socket, with reasons that a person can act on. Thread: any; the socket's. */
#include "common/net/zuv_bind.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/text.h"
#include "common/net/transport.h"

enum { HOST_MAX = 256, ENDPOINT_MAX = HOST_MAX + 16 };

static dp_err bad_syntax(const char *listen, const char *wrong, dp_error *err)
{
    return dp_fail(
        err, DP_USAGE,
        "'%s' is not an endpoint, %s: expected tcp://ADDRESS:PORT, such as tcp://127.0.0.1:7700 or tcp://*:0 (any "
        "free port), or ipc://PATH",
        listen, wrong);
}

static dp_err cannot_listen(const char *listen, int why, dp_error *err)
{
    const char *text = zmq_strerror(why);
    switch (why) {
    case EADDRINUSE:
        text = "the port is taken by another program; give --listen another, or port 0 for a free one";
        break;
    case EADDRNOTAVAIL:
    case ENODEV:
        text = "the address is not one of this machine's; use an address that `ip addr` shows, or * for all of them";
        break;
    case EACCES:
        text = "permission denied; ports below 1024 need privileges, a socket's folder must be writable";
        break;
    case ENOENT:
        text = "the folder does not exist; create it first";
        break;
    case ENAMETOOLONG:
        text = "the path is too long for a socket; use a shorter one";
        break;
    }
    return dp_fail(err, DP_SYSTEM, "cannot listen on %s: %s", listen, text);
}

/* Splits "HOST:PORT" into host[HOST_MAX] and the port, 0 for '*'; NULL or what is wrong. */
static const char *host_port_parse(const char *text, char *host, unsigned *ret_port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || strchr(colon, ']'))
        return "it has no port";
    size_t length = (size_t)(colon - text), digits = strspn(colon + 1, "0123456789");
    if (length == 0 || length >= HOST_MAX)
        return length ? "its host is too long" : "it has no host";
    if (text[0] != '[' && memchr(text, ':', length))
        return "an IPv6 address needs brackets, as in tcp://[::1]:7700";
    memcpy(host, text, length);
    host[length] = '\0';
    *ret_port = 0;
    if (strcmp(colon + 1, "*") == 0)
        return NULL;
    *ret_port = (unsigned)strtoul(colon + 1, NULL, 10);
    bool right = digits > 0 && digits <= 5 && colon[1 + digits] == '\0' && *ret_port <= 65535;
    return right ? NULL : "its port is not a number from 0 to 65535";
}

/* The first address of a name, as text; false where it has none. */
static bool host_resolve(const char *host, char *address, socklen_t size)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return false;
    bool got = getnameinfo(list->ai_addr, list->ai_addrlen, address, size, NULL, 0, NI_NUMERICHOST) == 0;
    freeaddrinfo(list);
    return got;
}

/* zmq_bind's errno, or 0. */
static int bind_host(void *socket, const char *host, unsigned port)
{
    char endpoint[ENDPOINT_MAX + 8];
    if (port == 0)
        snprintf(endpoint, sizeof endpoint, "tcp://%s:*", host);
    else
        snprintf(endpoint, sizeof endpoint, "tcp://%s:%u", host, port);
    return zmq_bind(socket, endpoint) == 0 ? 0 : errno;
}

/* Likewise, of a name as well. */
static int bind_name(void *socket, const char *host, unsigned port)
{
    char address[HOST_MAX];
    /* An IPv4 address bound with this on would be told as [::ffff:...]. */
    int ipv6 = host[0] == '[' || strcmp(host, "*") == 0;
    zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof ipv6);
    int why = bind_host(socket, host, port);
    /* zmq knows addresses and interfaces only. */
    if ((why == ENODEV || why == EINVAL) && host_resolve(host, address, sizeof address))
        why = bind_host(socket, address, port);
    return why == EINVAL ? ENODEV : why;
}

static const char *tcp_wrong(const char *rest)
{
    char host[HOST_MAX];
    unsigned port;
    return host_port_parse(rest, host, &port);
}

static dp_err bind_tcp(void *socket, const char *listen, const char *rest, dp_error *err)
{
    char host[HOST_MAX];
    unsigned port;
    const char *wrong = host_port_parse(rest, host, &port);
    if (wrong)
        return bad_syntax(listen, wrong, err);
    int why = bind_name(socket, host, port);
    return why == 0 ? DP_OK : cannot_listen(listen, why, err);
}

/* Whether somebody accepts connections on a Unix socket, or has a crowd before it that waits for that. */
static bool unix_alive(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && str_copy(to.sun_path, sizeof to.sun_path, path) &&
                 (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return alive;
}

static const char *ipc_wrong(const char *path)
{
    if (!path[0])
        return "it has no path";
    return strcmp(path, "@") == 0 ? "its @ has no name" : NULL;
}

/* zmq removes whatever is at the path, a file of the user's or the socket of a server that runs: look first. */
static dp_err bind_ipc(void *socket, const char *listen, const char *path, dp_error *err)
{
    struct stat st;
    if (path[0] != '@' && lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return dp_fail(err, DP_SYSTEM,
                           "cannot listen on %s: a file that is no socket is there; choose another path", listen);
        if (unix_alive(path))
            return dp_fail(err, DP_SYSTEM, "cannot listen on %s: another server listens there; choose another path",
                           listen);
    }
    return zmq_bind(socket, listen) == 0 ? DP_OK : cannot_listen(listen, errno, err);
}

/* ZeroMQ binds each transport in its own way. */
static const struct binding {
    const char *(*wrong)(const char *rest); /* NULL if the syntax is right */
    dp_err (*bind)(void *socket, const char *listen, const char *rest, dp_error *err);
} BINDINGS[] = {
    [TRANSPORT_TCP] = {tcp_wrong, bind_tcp},
    [TRANSPORT_IPC] = {ipc_wrong, bind_ipc},
};

/* The binding of an endpoint, and what follows its scheme. DP_USAGE with NULL. */
static const struct binding *binding_of(const char *listen, const char **ret_rest, dp_error *err)
{
    const struct transport *way = transport_of(listen, ret_rest);
    const char *wrong = way ? BINDINGS[way->id].wrong(*ret_rest) : TRANSPORT_NONE;
    if (!wrong)
        return &BINDINGS[way->id];
    (void)!bad_syntax(listen, wrong, err);
    return NULL;
}

dp_err zuv_listen_check(const char *listen, dp_error *err)
{
    const char *rest;
    return binding_of(listen, &rest, err) ? DP_OK : DP_USAGE;
}

/* zmq aborts where the first message of a peer that speaks ZMTP 1 or 2, as a stranger's random bytes may, comes while
 * the socket closes. A domain for authentication, which nobody does, makes it turn those away. */
static void refuse_old_peers(void *socket)
{
    static const char DOMAIN[] = "dp";
    zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, DOMAIN, strlen(DOMAIN));
}

static dp_err bound_endpoint(void *socket, const char *listen, char *endpoint, size_t size, dp_error *err)
{
    if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
        return dp_fail(err, DP_SYSTEM, "listening on %s, but its port cannot be told: %s", listen, zmq_strerror(errno));
    return DP_OK;
}

dp_err zuv_bind(void *socket, const char *listen, char *endpoint, size_t size, dp_error *err)
{
    const char *rest;
    const struct binding *binding = binding_of(listen, &rest, err);
    refuse_old_peers(socket);
    dp_err rc = binding ? binding->bind(socket, listen, rest, err) : DP_USAGE;
    return rc == DP_OK ? bound_endpoint(socket, listen, endpoint, size, err) : rc;
}

/* One number of a range, and what follows it; 0 where there is none. */
static unsigned port_parse(const char *text, const char **ret_rest)
{
    size_t digits = strspn(text, "0123456789");
    *ret_rest = text + digits;
    return digits > 0 && digits <= 5 ? (unsigned)strtoul(text, NULL, 10) : 0;
}

dp_err zuv_ports_parse(const char *text, struct zuv_ports *ret_ports, dp_error *err)
{
    const char *rest, *end;
    unsigned first = port_parse(text, &rest);
    unsigned last = rest[0] == '-' ? port_parse(rest + 1, &end) : 0;
    if (first == 0 || last == 0 || end[0] || last > 65535)
        return dp_fail(err, DP_USAGE, "'%s' is no range of ports from 1 to 65535, such as 7701-7708", text);
    if (first > last)
        return dp_fail(err, DP_USAGE, "'%s' is an empty range: %u is above %u", text, first, last);
    *ret_ports = (struct zuv_ports){first, last};
    return DP_OK;
}

dp_err zuv_bind_ports(void *socket, const char *listen, const struct zuv_ports *ports, char *endpoint, size_t size,
                      dp_error *err)
{
    char host[HOST_MAX], at[ENDPOINT_MAX + 8];
    unsigned unused;
    const char *rest;
    const struct binding *binding = binding_of(listen, &rest, err);
    if (!binding)
        return DP_USAGE;
    assert(binding == &BINDINGS[TRANSPORT_TCP]); /* the one with ports */
    const char *wrong = host_port_parse(rest, host, &unused);
    if (wrong)
        return bad_syntax(listen, wrong, err);
    refuse_old_peers(socket);
    for (unsigned port = ports->first; port <= ports->last; port++) {
        int why = bind_name(socket, host, port);
        if (why == 0)
            return bound_endpoint(socket, listen, endpoint, size, err);
        snprintf(at, sizeof at, "tcp://%s:%u", host, port);
        if (why != EADDRINUSE)
            return cannot_listen(at, why, err);
    }
    return dp_fail(err, DP_BUSY, "all ports from %u to %u of %s are in use", ports->first, ports->last, host);
}
