/* A descriptor for connections that find none; see accept_spare.h.
 *
 * Invariant: `spare` is an open descriptor of ours, or -1 where it could not be taken back yet. Thread: any. */
#include "server/zmtp/accept_spare.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "server/zmtp/gate.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool started;
static int spare = -1;
static atomic_uint_fast64_t turned_away;

static int take_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void accept_spare_start(void)
{
    pthread_mutex_lock(&mutex);
    if (!started)
        spare = take_spare();
    started = true;
    pthread_mutex_unlock(&mutex);
}

void accept_spare_stop(void)
{
    pthread_mutex_lock(&mutex);
    if (spare >= 0)
        close(spare);
    spare = -1;
    started = false;
    pthread_mutex_unlock(&mutex);
}

uint64_t accept_spare_count(void)
{
    return atomic_load_explicit(&turned_away, memory_order_relaxed);
}

static int accept_now(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, size, flags);
}

/* Returns -1 with EAGAIN where the connection was turned away; somebody else may have taken the descriptor meanwhile,
 * then with what accept says. */
static int turn_away(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    pthread_mutex_lock(&mutex);
    if (started && spare < 0)
        spare = take_spare();
    if (spare < 0) {
        pthread_mutex_unlock(&mutex);
        errno = ENFILE; /* the one that ZeroMQ takes everywhere */
        return -1;
    }
    close(spare);
    int guest = accept_now(fd, address, size, flags), why = errno;
    if (guest >= 0) {
        close(guest);
        why = EAGAIN;
        atomic_fetch_add_explicit(&turned_away, 1, memory_order_relaxed);
    }
    spare = take_spare();
    pthread_mutex_unlock(&mutex);
    errno = why == EMFILE ? ENFILE : why;
    return -1;
}

__attribute__((visibility("default"))) int accept4(int fd, __SOCKADDR_ARG address, socklen_t *restrict size, int flags)
{
    int guest = accept_now(fd, address.__sockaddr__, size, flags);
    if (guest >= 0)
        return gate_accept(fd, guest, mono_ms());
    if (errno != EMFILE && errno != ENFILE)
        return guest;
    return turn_away(fd, address.__sockaddr__, size, flags);
}

__attribute__((visibility("default"))) int accept(int fd, __SOCKADDR_ARG address, socklen_t *restrict size)
{
    return accept4(fd, address, size, 0);
}
