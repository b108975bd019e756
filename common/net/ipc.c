/* The transport of ipc://PATH and ipc://@NAME, Unix sockets of this machine. Thread: any. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/deadline.h"
#include "common/base/text.h"
#include "common/net/transport.h"

enum { QUEUE_WAIT_MS = 20 };

static const char *ipc_parse(const char *path, struct endpoint *ret_endpoint)
{
    struct endpoint endpoint = {.way = TRANSPORT_IPC};
    if (path[0] == '\0' || strcmp(path, "@") == 0)
        return "it has no path";
    if (strlen(path) >= sizeof((struct sockaddr_un){0}).sun_path)
        return "its path is too long for a socket";
    (void)str_copy(endpoint.host, sizeof endpoint.host, path);
    *ret_endpoint = endpoint;
    return NULL;
}

static void ipc_text(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_MAX])
{
    snprintf(text, ENDPOINT_TEXT_MAX, "ipc://%s", endpoint->host);
}

static bool ipc_is_local(const char *path)
{
    (void)path;
    return true;
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
    while (error == EAGAIN && deadline_left_ms(deadline_ms) > 0 && !dial_stopped(stop)) {
        (void)poll(NULL, 0, QUEUE_WAIT_MS);
        error = connect(fd, (const struct sockaddr *)&to, size) ? errno : 0;
    }
    close(fd);
    return error == EAGAIN ? ETIMEDOUT : error;
}

static dp_err ipc_probe(const struct endpoint *endpoint, uint64_t timeout_ms, const volatile int *stop,
                        struct endpoint *ret_address, dp_error *err)
{
    int why = connect_ipc(endpoint->host, mono_ms() + timeout_ms, stop);
    if (why)
        return dp_fail(err, DP_UNREACHABLE, "%s", strerror(why));
    *ret_address = *endpoint;
    return DP_OK;
}

/* Under an abstract name, of which a killed process leaves nothing behind. */
static void ipc_beside(const char *path, const char *name, char *text, size_t size)
{
    (void)path;
    snprintf(text, size, "ipc://@%s", name);
}

static void ipc_at_host(const char *path, const char *host, char *text, size_t size)
{
    (void)host;
    snprintf(text, size, "ipc://%s", path);
}

/* ZeroMQ leaves the socket of a path where it is. */
static void ipc_clean(const char *path)
{
    if (path[0] != '@')
        (void)unlink(path);
}

const struct transport TRANSPORT_ROW_IPC = {.id = TRANSPORT_IPC,
                                            .name = "ipc",
                                            .scheme = "ipc://",
                                            .has_ports = false,
                                            .parse = ipc_parse,
                                            .text = ipc_text,
                                            .probe = ipc_probe,
                                            .is_local = ipc_is_local,
                                            .beside = ipc_beside,
                                            .at_host = ipc_at_host,
                                            .clean = ipc_clean};
