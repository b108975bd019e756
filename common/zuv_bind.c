/* Binding a socket, with reasons that a person can act on. Thread: any; the socket's. */
#include "zuv.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util.h"

enum { HOST_MAX = 256, ENDPOINT_MAX = HOST_MAX + 16 };

static dp_err bad_syntax(const char *listen, dp_error *err)
{
    return dp_fail(
        err, DP_USAGE,
        "'%s' is not an endpoint: expected tcp://ADDRESS:PORT, such as tcp://127.0.0.1:7700 or tcp://*:0 (any "
        "free port), or ipc://PATH",
        listen);
}

static dp_err cannot_listen(const char *listen, int why, dp_error *err)
{
    const char *text = zmq_strerror(why);
    switch (why) {
    case EADDRINUSE:
        text = "the port is taken by another program; choose another, or port 0 for a free one";
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

/* Splits "HOST:PORT" into host[HOST_MAX] and the port, 0 for '*'. */
static bool host_port_parse(const char *text, char *host, unsigned *ret_port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || (size_t)(colon - text) >= HOST_MAX)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    *ret_port = 0;
    if (strcmp(colon + 1, "*") == 0)
        return true;
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0')
        return false;
    *ret_port = (unsigned)strtoul(colon + 1, NULL, 10);
    return *ret_port <= 65535;
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

static dp_err bind_tcp(void *socket, const char *listen, dp_error *err)
{
    char host[HOST_MAX], address[HOST_MAX];
    unsigned port;
    if (!host_port_parse(listen + strlen("tcp://"), host, &port))
        return bad_syntax(listen, err);
    /* An IPv4 address bound with this on would be told as [::ffff:...]. */
    int ipv6 = host[0] == '[' || strcmp(host, "*") == 0;
    zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof ipv6);
    int why = bind_host(socket, host, port);
    /* zmq knows addresses and interfaces only. */
    if ((why == ENODEV || why == EINVAL) && host_resolve(host, address, sizeof address))
        why = bind_host(socket, address, port);
    return why == 0 ? DP_OK : cannot_listen(listen, why == EINVAL ? ENODEV : why, err);
}

/* Whether somebody accepts connections on a Unix socket. */
static bool unix_alive(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && str_copy(to.sun_path, sizeof to.sun_path, path) &&
                 connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
    if (fd >= 0)
        close(fd);
    return alive;
}

/* zmq removes whatever is at the path, a file of the user's or the socket of a server that runs: look first. */
static dp_err bind_ipc(void *socket, const char *listen, dp_error *err)
{
    const char *path = listen + strlen("ipc://");
    struct stat st;
    if (!path[0])
        return bad_syntax(listen, err);
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

dp_err zuv_bind(void *socket, const char *listen, char *endpoint, size_t size, dp_error *err)
{
    dp_err rc;
    if (strncmp(listen, "tcp://", strlen("tcp://")) == 0)
        rc = bind_tcp(socket, listen, err);
    else if (strncmp(listen, "ipc://", strlen("ipc://")) == 0)
        rc = bind_ipc(socket, listen, err);
    else
        rc = bad_syntax(listen, err);
    if (rc == DP_OK && zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
        return dp_fail(err, DP_SYSTEM, "listening on %s, but its port cannot be told: %s", listen, zmq_strerror(errno));
    return rc;
}
