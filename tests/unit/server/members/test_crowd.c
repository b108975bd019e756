/* Descriptors that run short: how many workers fit, and connections for which none is left. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stddef.h>

#include "common/base/process.h"
#include "server/members/crowd.h"
#include "server/zmtp/accept_spare.h"

/* Workers that take `each`, one after the other, until one does not fit. */
static uint64_t fit(uint64_t limit, uint64_t own, uint64_t each)
{
    const struct crowd crowd = {.limit = limit, .own = own};
    uint64_t workers = 0;
    while (crowd_has_room(&crowd, workers * each, each))
        workers++;
    return workers;
}

Test(crowd, as_many_fit_as_leave_a_reserve)
{
    cr_assert_eq(fit(70, 32, 4), 7, "8 are kept");
    cr_assert_eq(fit(70, 32, 3), 10);
    cr_assert_eq(fit(1024, 32, 4), 232, "64 are kept");
    cr_assert_eq(fit(352, 32, 4), 70, "40 are kept, an eighth");
    cr_assert_eq(fit(1000000, 100, 20), 49991);
    cr_assert_eq(fit(40, 32, 4), 0);
    cr_assert_eq(fit(20, 32, 4), 0, "there are fewer than the server has itself");
}

Test(crowd, what_is_left_is_counted_without_taking_any)
{
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    uint64_t left = descriptors_left(1000), taken = 0;
    cr_assert_eq(descriptors_left(3), 3);
    int fds[64];
    while ((fds[taken] = open("/", O_PATH)) >= 0)
        taken++;
    cr_assert_eq(taken, left);
    cr_assert_eq(descriptors_left(1), 0);
    close(fds[0]);
    cr_assert_eq(descriptors_left(5), 1, "however low its number is");
    dp_error err;
    cr_assert_eq(descriptors_check(1, &err), DP_OK);
    cr_assert_eq(descriptors_check(2, &err), DP_SYSTEM);
}

static int listen_any(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_eq(bind(fd, (const struct sockaddr *)address, size), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)address, &size), 0);
    return fd;
}

static void use_up(void)
{
    while (open("/", O_PATH) >= 0) {
    }
    cr_assert_eq(errno, EMFILE);
}

Test(crowd, a_connection_without_a_descriptor_is_closed, .timeout = 60)
{
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    struct sockaddr_in address;
    char byte;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    accept_spare_start();
    int door = listen_any(&address), guests[3];
    for (int i = 0; i < 3; i++) {
        guests[i] = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(connect(guests[i], (const struct sockaddr *)&address, sizeof address), 0);
    }
    int in = accept4(door, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(in, 0, "there are some left");
    use_up();
    for (int i = 1; i < 3; i++) {
        cr_assert_eq(accept4(door, NULL, NULL, SOCK_CLOEXEC), -1);
        cr_assert_eq(errno, EAGAIN, "%d: none waits on", errno);
        cr_assert_eq(read(guests[i], &byte, 1), 0, "its peer knows");
        cr_assert_eq(accept_spare_count(), (uint64_t)i);
    }
    cr_assert_eq(accept4(door, NULL, NULL, SOCK_CLOEXEC), -1);
    cr_assert_eq(errno, EAGAIN);
    cr_assert_eq(accept_spare_count(), 2, "nobody came");
    close(guests[1]);
    accept_spare_stop();
    cr_assert_eq(descriptors_left(2), 2);
}
