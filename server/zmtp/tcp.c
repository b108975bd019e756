/* The calls that libzmq makes of the C library, as the gate has them; see tcp.h, and gate.h for the reason. libzmq
 * reads each connection, of TCP and of Unix sockets, by recv alone (4.3.4 and 4.3.5: tcp_read); where it was built to
 * check the sizes of buffers, that may be __recv_chk. Thread: any. */
#include "server/zmtp/tcp.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/closer.h"
#include "common/base/util.h"
#include "server/zmtp/gate.h"

/* libzmq's 100 are soon used up by a crowd of strangers, and a worker's connection then waits for its next try. */
enum { BACKLOG = 4096 };

enum { PASSED_MAX = 253 }; /* descriptors that Linux passes at once */

static _Thread_local bool listening;

/* Here, so that whoever links with the gate has these calls: by their names alone a sanitizer's would do. */
void gate_listening(bool on)
{
    listening = on;
}

#define EXPORTED __attribute__((visibility("default")))

/* Descriptors that are passed go to the closer: left alone, the kernel would close them here. */
static bool close_passed(struct msghdr *packet)
{
    bool any = false;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(packet); head; head = CMSG_NXTHDR(packet, head))
        for (size_t at = 0; head->cmsg_type == SCM_RIGHTS && at + sizeof(int) <= head->cmsg_len - CMSG_LEN(0);
             at += sizeof(int)) {
            int passed;
            memcpy(&passed, CMSG_DATA(head) + at, sizeof passed);
            closer_close(passed);
            any = true;
        }
    return any;
}

static ssize_t recv_local(int fd, void *buf, size_t size, int flags)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(PASSED_MAX * sizeof(int))];
    struct iovec part = {.iov_base = buf, .iov_len = size};
    struct msghdr packet = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = syscall(SYS_recvmsg, fd, &packet, flags | MSG_CMSG_CLOEXEC);
    if (n < 0 || !(close_passed(&packet) || packet.msg_flags & MSG_CTRUNC))
        return n;
    gate_refuse_descriptors(fd);
    errno = ECONNRESET;
    return -1;
}

EXPORTED ssize_t recv(int fd, void *buf, size_t size, int flags)
{
    ssize_t n =
        gate_is_local(fd) ? recv_local(fd, buf, size, flags) : syscall(SYS_recvfrom, fd, buf, size, flags, NULL, NULL);
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

EXPORTED int close(int fd)
{
    return gate_close(fd);
}
