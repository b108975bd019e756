/* The calls that libzmq makes of the C library, as the gate has them; gate.h says why. libzmq reads each connection, of
 * TCP and of Unix sockets, by recv alone (4.3.4 and 4.3.5: tcp_read); where it was built to check the sizes of buffers,
 * that may be __recv_chk. Thread: any. */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate.h"
#include "util.h"

/* libzmq's 100 are soon used up by a crowd of strangers, and a worker's connection then waits for its next try. */
enum { BACKLOG = 4096 };

static _Thread_local bool listening;

/* Here, so that whoever links with the gate has these calls: by their names alone a sanitizer's would do. */
void gate_listening(bool on)
{
    listening = on;
}

#define EXPORTED __attribute__((visibility("default")))

EXPORTED ssize_t recv(int fd, void *buf, size_t size, int flags)
{
    ssize_t n = syscall(SYS_recvfrom, fd, buf, size, flags, NULL, NULL);
    if (n <= 0 || (flags & MSG_PEEK) || !gate_watches(fd) || gate_read(fd, buf, (size_t)n, mono_ms()))
        return n;
    errno = ECONNRESET;
    return -1;
}

/* The C library has given it its name. NOLINTBEGIN(bugprone-reserved-identifier) */
EXPORTED ssize_t __recv_chk(int fd, void *buf, size_t size, size_t room, int flags);
EXPORTED ssize_t __recv_chk(int fd, void *buf, size_t size, size_t room, int flags)
{
    return recv(fd, buf, size < room ? size : room, flags);
}
/* NOLINTEND(bugprone-reserved-identifier) */

EXPORTED int listen(int fd, int backlog)
{
    bool watched = listening && gate_listen(fd);
    return (int)syscall(SYS_listen, fd, watched ? MAX(backlog, BACKLOG) : backlog);
}

static int (*next_close)(int fd);

__attribute__((constructor)) static void find_next(void)
{
    void *found = dlsym(RTLD_NEXT, "close");
    memcpy(&next_close, &found, sizeof found);
}

int gate_close_now(int fd)
{
    return next_close ? next_close(fd) : (int)syscall(SYS_close, fd);
}

EXPORTED int close(int fd)
{
    return gate_close(fd);
}
