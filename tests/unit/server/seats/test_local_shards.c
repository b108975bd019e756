/* Shards of this process: where they listen, what workers are told, and that their seats reach their threads. */
#include "server/seats/local_shards.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/util.h"
#include "common/net/zuv_term.h"
#include "server/options/options.h"
#include "server/seats/seats.h"
#include "tests/unit/support/leaks.h"

enum { WAIT_MS = 60000 };

struct world {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t deadline;
    void *zmq;
    struct server_options opts;
    struct seats seats;
    uint32_t owed; /* shards that have answered COMMAND_OWED */
};

static void on_wake(uv_async_t *wake)
{
    struct world *w = wake->data;
    for (uint32_t s = 0; s < w->seats.count; s++) {
        struct event event;
        while (seats_take(&w->seats, s, &event)) {
            w->owed += event.kind == EVENT_OWED;
            event_fini(&event);
        }
    }
    if (w->owed == w->seats.count)
        uv_stop(&w->loop);
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("the shards do not answer");
}

static void set_up(struct world *w, uint64_t shards)
{
    *w = (struct world){.opts = {.shards = shards, .listen = "tcp://127.0.0.1:0"}};
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    uv_async_init(&w->loop, &w->wake, on_wake);
    uv_timer_init(&w->loop, &w->deadline);
    w->wake.data = w;
    w->zmq = zmq_ctx_new();
}

static dp_err start(struct world *w, const char *endpoint, dp_error *err)
{
    const struct local_head head = {
        .opts = &w->opts, .zmq = w->zmq, .wake = &w->wake, .endpoint = endpoint, .incarnation = 0xabc};
    return local_shards_start(&w->seats, &head, err);
}

static void tear_down(struct world *w)
{
    seats_stop(&w->seats);
    zuv_term(w->zmq);
    seats_fini(&w->seats);
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_close((uv_handle_t *)&w->deadline, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
    ASSERT_NO_LEAKS();
}

Test(local_shards, answer_by_their_seats)
{
    struct world w;
    dp_error err;
    set_up(&w, 2);
    cr_assert_eq(start(&w, "tcp://127.0.0.1:1", &err), DP_OK, "%s", err.text);
    cr_assert_eq(w.seats.count, 2);
    for (uint32_t s = 0; s < 2; s++)
        cr_assert(seats_send(&w.seats, s, &(struct command){.kind = COMMAND_OWED}));
    uv_timer_start(&w.deadline, on_deadline, WAIT_MS, 0);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    cr_assert_eq(w.owed, 2);
    cr_assert_eq(counter_get(&seats_at(&w.seats, 1)->counters->pushes), 0);
    tear_down(&w);
}

Test(local_shards, listen_at_the_heads_host_and_workers_come_there_or_to_the_one_to_advertise)
{
    static const char *const HOSTS[] = {NULL, "box"};
    for (size_t i = 0; i < ARRAY_LEN(HOSTS); i++) {
        struct world w;
        dp_error err;
        char told[64];
        unsigned port;
        set_up(&w, 2);
        w.opts.advertise = HOSTS[i];
        cr_assert_eq(start(&w, "tcp://127.0.0.1:1", &err), DP_OK, "%s", err.text);
        for (uint32_t s = 0; s < 2; s++) {
            const struct seat *seat = seats_at(&w.seats, s);
            cr_assert_eq(sscanf(seat->endpoint, "tcp://127.0.0.1:%u", &port), 1, "%s", seat->endpoint);
            snprintf(told, sizeof told, "tcp://%s:%u", HOSTS[i] ? HOSTS[i] : "*", port);
            cr_assert_str_eq(seat->told, told);
            cr_assert_not(seat->at_head);
        }
        tear_down(&w);
    }
}

Test(local_shards, of_a_head_at_a_path_have_abstract_names)
{
    struct world w;
    dp_error err;
    set_up(&w, 2);
    cr_assert_eq(start(&w, "ipc:///tmp/of-the-head", &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(seats_at(&w.seats, 1)->endpoint, "ipc://@dp-0000000000000abc-1");
    cr_assert_str_eq(seats_at(&w.seats, 1)->told, "ipc://@dp-0000000000000abc-1");
    tear_down(&w);
}

/* Somebody listens at a port until its descriptor is closed. */
static int listen_somewhere(unsigned *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&at, size) == 0 && listen(fd, 1) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

Test(local_shards, without_a_port_of_the_range_name_the_one_that_is_taken)
{
    struct world w;
    dp_error err;
    char ports[32], taken[64];
    unsigned port;
    set_up(&w, 2);
    int fd = listen_somewhere(&port);
    snprintf(ports, sizeof ports, "%u-%u", port, port);
    snprintf(taken, sizeof taken, "; port %u, for one, is in use by another program", port);
    w.opts.ports = ports;
    w.opts.shard_ports = (struct zuv_ports){port, port};
    cr_assert_eq(start(&w, "tcp://127.0.0.1:1", &err), DP_SYSTEM);
    cr_assert(strstr(err.text, "no port is left for shard 0 of --shards 2"), "%s", err.text);
    cr_assert(strstr(err.text, taken), "%s", err.text);
    cr_assert_eq(w.seats.count, 0);
    close(fd);
    tear_down(&w);
}
