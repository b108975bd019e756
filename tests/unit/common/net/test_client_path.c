/* A connection whose bytes do not arrive any more is found. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stddef.h>

#include "common/base/clock.h"
#include "common/net/path.h"

static uint64_t look(struct path_watch *watch, uint64_t acked, bool waits, uint64_t now_ms)
{
    return path_stuck_ms(watch, &(struct path_state){.acked = acked, .waits = waits}, now_ms);
}

Test(client_path, bytes_that_wait_without_an_acknowledgement_are_stuck)
{
    struct path_watch watch = {0};
    cr_assert_eq(look(&watch, 10, true, 100000), 0, "nothing is known before");
    cr_assert_eq(look(&watch, 10, true, 100500), 500);
    cr_assert_eq(look(&watch, 10, true, 102000), 2000);
    cr_assert_eq(look(&watch, 11, true, 102500), 0, "one was acknowledged");
    cr_assert_eq(look(&watch, 11, true, 103500), 1000);
    cr_assert_eq(look(&watch, 11, false, 103600), 0, "nothing waits");
    cr_assert_eq(look(&watch, 11, true, 103700), 0, "what waits now began to after that");
    cr_assert_eq(look(&watch, 11, true, 103800), 100);
}

/* A worker that computes does not look: what has happened meanwhile is not known. */
Test(client_path, a_gap_between_looks_is_not_counted)
{
    struct path_watch watch = {0};
    (void)look(&watch, 10, true, 100000);
    cr_assert_eq(look(&watch, 10, true, 100000 + PATH_GAP_MS), PATH_GAP_MS);
    cr_assert_eq(look(&watch, 10, true, 101000 + 2 * PATH_GAP_MS), 0);
    cr_assert_eq(look(&watch, 10, true, 101100 + 2 * PATH_GAP_MS), 100);
}

/* The kernel's own counts of a connection over loopback. */
Test(client_path, counts_what_has_arrived)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    struct path_state state;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&at, sizeof at), 0);
    int server = accept(listener, NULL, NULL);
    cr_assert_eq(send(client, "four", 4, 0), 4);
    struct pollfd there = {.fd = server, .events = POLLIN};
    cr_assert_eq(poll(&there, 1, 10000), 1);
    if (!path_look(client, &state))
        cr_skip_test("this kernel does not count bytes");
    for (uint64_t end_ms = mono_ms() + 10000; state.acked < 4 && mono_ms() < end_ms;)
        cr_assert(path_look(client, &state));
    cr_assert_geq(state.acked, 4);
    cr_assert_not(state.waits);
    cr_assert(path_look(server, &state));
    cr_assert_eq(state.received, 4);
    close(server);
    close(client);
    close(listener);
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_not(path_look(pipes[0], &state), "no TCP connection");
    cr_assert_not(path_look(-1, &state));
    close(pipes[0]);
    close(pipes[1]);
}
