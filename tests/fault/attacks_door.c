/* Attacks at the Unix sockets where workers are lent memory: noise, descriptors that never close, slabs without an end.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/entropy.h"
#include "common/base/util.h"
#include "tests/fault/hostile.h"

enum { ANSWER_MS = 3000 };

/* A connection to an abstract Unix socket, or -1. */
static int door_connect(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    size_t bytes = strlen(name);
    if (fd < 0 || bytes + 2 > sizeof to.sun_path)
        return fd;
    memcpy(to.sun_path + 1, name, bytes);
    if (connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + bytes)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The socket by which workers are lent memory: silent connections, and noise. */
static bool doors(const struct stage *stage, struct why *why)
{
    enum { CROWD = 200 };
    struct insider insider;
    uint64_t noise[64];
    int fds[CROWD];
    if (!stage_enter(stage, &insider, why))
        return false;
    for (int i = 0; i < CROWD; i++) {
        const char *name = insider.doors[(uint32_t)i % stage->job->config->shards];
        fds[i] = name[0] ? door_connect(name) : -1;
        for (size_t k = 0; k < ARRAY_LEN(noise); k++)
            noise[k] = entropy_u64();
        if (fds[i] >= 0 && i % 2)
            (void)!send(fds[i], noise, (size_t)i + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    struct job_state state;
    bool ok = job_status(stage->job, &state, why);
    for (int i = 0; i < CROWD; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    insider_leave(&insider, true);
    return ok;
}

/* A packet of `bytes` bytes with `count` times one descriptor. */
static void pass(int door, const void *data, size_t bytes, int fd, size_t count)
{
    enum { MOST = 8 };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))] = {0};
    struct iovec part = {.iov_base = (void *)data, .iov_len = bytes};
    struct msghdr packet = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof fd)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
    *head = (struct cmsghdr){CMSG_LEN(count * sizeof fd), SOL_SOCKET, SCM_RIGHTS};
    for (size_t i = 0; i < count; i++)
        memcpy(CMSG_DATA(head) + i * sizeof fd, &fd, sizeof fd);
    (void)!sendmsg(door, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A connection whose last close takes as long as the attack, since its other end takes nothing; -1: none. */
static int lingering(int *ret_other)
{
    static const char BYTES[4096];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger linger = {1, 1000};
    socklen_t size = sizeof to;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_other = -1;
    if (bind(listener, (struct sockaddr *)&to, size) == 0 && listen(listener, 1) == 0 &&
        getsockname(listener, (struct sockaddr *)&to, &size) == 0 && connect(fd, (struct sockaddr *)&to, size) == 0)
        *ret_other = accept(listener, NULL, NULL);
    close(listener);
    while (*ret_other >= 0 && send(fd, BYTES, sizeof BYTES, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
    if (*ret_other >= 0 && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Empty packets with descriptors, and one that the server is to close last: our own is closed while it has not looked.
 */
static bool passed(const struct stage *stage, struct why *why)
{
    enum { TIMES = 40, EACH = 4, STOPPED_US = 50000 };
    struct insider insider;
    struct job_state state;
    if (!stage_enter(stage, &insider, why))
        return false;
    int other, stuck = lingering(&other), doors[TIMES];
    (void)kill(stage->job->server, SIGSTOP);
    usleep(STOPPED_US);
    for (int i = 0; i < TIMES; i++) {
        doors[i] = door_connect(insider.doors[(uint32_t)i % stage->job->config->shards]);
        if (doors[i] >= 0)
            pass(doors[i], "", i == 0, i == 0 && stuck >= 0 ? stuck : STDOUT_FILENO, i == 0 ? 1 : EACH);
    }
    close(stuck);
    (void)kill(stage->job->server, SIGCONT);
    bool ok = job_status(stage->job, &state, why);
    ok = ok && (insider_is_heard(&insider) || why_not(why, "a member is not heard beside one who passes descriptors"));
    for (int i = 0; i < TIMES; i++)
        if (doors[i] >= 0)
            close(doors[i]);
    if (other >= 0)
        close(other);
    insider_leave(&insider, true);
    return ok;
}

/* The answer to what was said at a door; false where there is none. */
static bool door_answer(int door, struct shm_message *answer)
{
    struct pollfd wait = {.fd = door, .events = POLLIN};
    dp_error err;
    int memory = -1;
    bool got = poll(&wait, 1, ANSWER_MS) == 1 && shm_receive(door, answer, &memory, &err) == DP_OK;
    if (memory >= 0)
        close(memory);
    return got;
}

/* Slabs of 1 TiB, which cost a worker nothing: the server must not map as many as it has addresses for. */
static bool slabs(const struct stage *stage, struct why *why)
{
    struct insider insider;
    struct shm_message hello = {.kind = SHM_HELLO}, answer;
    uint32_t taken = 0, refused = 0;
    if (!stage_enter(stage, &insider, why))
        return false;
    int door = door_connect(insider.doors[0]), memory = memfd_create("vast", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    hello.session = insider.session;
    hello.incarnation = insider.incarnation;
    bool ok = ftruncate(memory, (off_t)SHM_BYTES_MAX) == 0 &&
              fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0 && door >= 0 &&
              shm_send(door, &hello, -1) == DP_OK && door_answer(door, &answer) && answer.kind == SHM_WELCOME;
    for (uint32_t i = 0; ok && i < SHM_SLABS_MAX; i++) {
        struct shm_message slab = {.kind = SHM_SLAB, .slab = i, .bytes = SHM_BYTES_MAX};
        ok = shm_send(door, &slab, memory) == DP_OK && door_answer(door, &answer);
        taken += ok && answer.kind == SHM_TAKEN;
        refused += ok && answer.kind == SHM_REFUSED;
    }
    if (door >= 0)
        close(door);
    close(memory);
    insider_leave(&insider, true);
    if (ok && taken > 0 && taken <= 2 && refused + taken == SHM_SLABS_MAX)
        return true;
    return why_not(why, "of slabs of 1 TiB %u were taken and %u refused, of %d", taken, refused, SHM_SLABS_MAX);
}

const struct attack DOOR_ATTACKS[] = {
    {"doors", "noise and idle connections where memory is lent", doors},
    {"passed", "descriptors that are not closed soon, and empty packets with some", passed},
    {"slabs", "memory of a member that takes all addresses", slabs},
    {0},
};
