/* A thread closes what others have passed: nobody waits for a socket that lingers. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stddef.h>

#include "common/base/clock.h"
#include "common/base/closer.h"

enum { SOON_MS = 20000, LINGER_S = 100 };

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void wait_until_waiting(uint32_t count)
{
    uint64_t deadline_ms = mono_ms() + SOON_MS;
    while (closer_waiting() != count && mono_ms() < deadline_ms)
        usleep(1000);
    cr_assert_eq(closer_waiting(), count);
}

/* A connection whose other end takes nothing more, and whose close waits for it. */
static int lingering(int *ret_other)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger linger = {1, LINGER_S};
    socklen_t size = sizeof address;
    char bytes[4096] = {0};
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, size), 0);
    *ret_other = accept(listener, NULL, NULL);
    cr_assert_geq(*ret_other, 0);
    while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(listener);
    return fd;
}

Test(closer, before_it_runs_a_descriptor_is_closed_at_once)
{
    int fd = dup(STDOUT_FILENO);
    closer_close(fd);
    cr_assert_not(is_open(fd));
    cr_assert_eq(closer_waiting(), 0);
}

Test(closer, nobody_waits_for_a_socket_that_lingers, .timeout = 60)
{
    dp_error err;
    int other, fds[CLOSER_WAITING_MAX];
    cr_assert_eq(closer_start(&err), DP_OK, "%s", err.text);
    cr_assert_eq(closer_start(&err), DP_OK, "%s", err.text);
    int stuck = lingering(&other);
    uint64_t began_ms = mono_ms();
    closer_close(stuck);
    cr_assert_not(closer_is_full());
    for (int i = 1; i < CLOSER_WAITING_MAX; i++)
        closer_close(fds[i] = dup(STDOUT_FILENO));
    cr_assert_lt(mono_ms() - began_ms, LINGER_S * 1000 / 4);
    cr_assert_eq(closer_waiting(), CLOSER_WAITING_MAX, "they wait behind the first");
    cr_assert(closer_is_full());
    close(other);
    wait_until_waiting(0);
    for (int i = 1; i < CLOSER_WAITING_MAX; i++)
        cr_assert_not(is_open(fds[i]));
}
