/* Messages with a descriptor; see shm_wire.h. Invariant: each descriptor received is given to the caller or closed.
 * Thread: any. */
#include "common/net/shm_wire.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/closer.h"
#include "common/base/text.h"

enum { MAGIC = 0x6d687364, DESCRIPTORS_MAX = 253 }; /* as many as Linux passes at once: none is dropped by receiving */

/* An abstract name begins with a zero and has no other. */
static socklen_t shm_address(const char *name, struct sockaddr_un *ret_address)
{
    size_t length = strnlen(name, SHM_NAME_MAX);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path + 1, name, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static int shm_socket(void)
{
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

dp_err shm_listen(const char *name, int *ret_fd, dp_error *err)
{
    struct sockaddr_un address;
    socklen_t size = shm_address(name, &address);
    int fd = shm_socket();
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, size) || listen(fd, SOMAXCONN)) {
        dp_err e = dp_fail(err, DP_SYSTEM, "cannot listen on the Unix socket @%s: %s", name, strerror(errno));
        if (fd >= 0)
            close(fd);
        return e;
    }
    *ret_fd = fd;
    return DP_OK;
}

dp_err shm_connect(const char *name, int *ret_fd, dp_error *err)
{
    struct sockaddr_un address;
    socklen_t size = shm_address(name, &address);
    int fd = shm_socket();
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, size)) {
        dp_err e = dp_fail(err, DP_UNREACHABLE, "cannot reach the Unix socket @%s: %s", name, strerror(errno));
        if (fd >= 0)
            close(fd);
        return e;
    }
    *ret_fd = fd;
    return DP_OK;
}

dp_err shm_send(int fd, struct shm_message *message, int pass)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof pass)] = {0};
    struct iovec part = {.iov_base = message, .iov_len = sizeof *message};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    message->magic = MAGIC;
    if (pass >= 0) {
        packet.msg_control = control;
        packet.msg_controllen = sizeof control;
        struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof pass);
        memcpy(CMSG_DATA(head), &pass, sizeof pass);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof *message)
        return DP_OK;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? DP_BUSY : DP_IO;
}

void shm_refuse(int fd, uint32_t slab, dp_err code, const char *text)
{
    struct shm_message message = {.kind = SHM_REFUSED, .slab = slab, .code = (uint32_t)code};
    (void)str_copy(message.text, sizeof message.text, text);
    for (char *at = message.text; *at; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    (void)!shm_send(fd, &message, -1);
}

/* Takes out what was passed: the number of descriptors; the first is in *ret_passed, the others are closed. */
static size_t take_descriptors(struct msghdr *packet, int *ret_passed)
{
    size_t count = 0;
    *ret_passed = -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(packet); head; head = CMSG_NXTHDR(packet, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= head->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int passed;
            memcpy(&passed, CMSG_DATA(head) + at, sizeof passed);
            if (count++ == 0)
                *ret_passed = passed;
            else
                closer_close(passed);
        }
    }
    return count;
}

static bool text_fine(const char *text)
{
    size_t length = strnlen(text, SHM_TEXT_MAX);
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return length < SHM_TEXT_MAX;
}

static bool message_fine(const struct shm_message *message, size_t descriptors)
{
    bool sized = message->kind == SHM_SLAB || message->kind == SHM_RING;
    bool passes = sized || (message->kind == SHM_WELCOME && message->planes > 0);
    if (message->magic != MAGIC || message->kind < SHM_HELLO || message->kind > SHM_BEGIN)
        return false;
    if (message->slab >= SHM_SLABS_MAX || descriptors != (passes ? 1 : 0) || !text_fine(message->text))
        return false;
    if (sized && (message->bytes == 0 || message->bytes > SHM_BYTES_MAX))
        return false;
    if (message->kind == SHM_RING && (message->ring == 0 || message->ring > SHM_RINGS_MAX))
        return false;
    return message->kind != SHM_WELCOME || message->planes <= SHM_PLANES_MAX;
}

dp_err shm_receive(int fd, struct shm_message *ret_message, int *ret_passed, dp_error *err)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
    struct iovec part = {.iov_base = ret_message, .iov_len = sizeof *ret_message};
    struct msghdr packet = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n;
    *ret_passed = -1;
    do
        n = recvmsg(fd, &packet, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return DP_BUSY;
    if (n < 0)
        return dp_fail(err, DP_IO, "the Unix socket has failed: %s", strerror(errno));
    size_t descriptors = take_descriptors(&packet, ret_passed); /* an empty packet may have some, too */
    if (n == 0 && descriptors == 0)
        return dp_fail(err, DP_IO, "the Unix socket was closed by the other side");
    if (n == (ssize_t)sizeof *ret_message && !(packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
        message_fine(ret_message, descriptors))
        return DP_OK;
    if (*ret_passed >= 0)
        closer_close(*ret_passed);
    *ret_passed = -1;
    if (packet.msg_flags & MSG_CTRUNC)
        return dp_fail(err, DP_PROTO,
                       "a descriptor that was passed cannot be taken: are too many files open (ulimit -n)?");
    return dp_fail(err, DP_PROTO, "%zd bytes with %zu descriptors on the Unix socket are no message", n, descriptors);
}

bool shm_brings_descriptors(int fd)
{
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n;
    do
        n = recvmsg(fd, &packet, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n >= 0 && (packet.msg_flags & MSG_CTRUNC);
}
