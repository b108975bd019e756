/* The door of a shard's shared memory: crowds, silent guests, and a door that is closed by whom it asks. Everything
 * runs on one loop until what is waited for has happened. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/net/shm.h"
#include "server/net/shm_door.h"
#include "tests/unit/support/leaks.h"

enum { CROWD = 300, SILENT = 200 };

/* libuv's way to the kernel: one of a descriptor that is closed is wrong, as another thread may have its number by
 * then. */
static unsigned closed_ones;

__attribute__((visibility("default"))) int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    int rc = (int)syscall(SYS_epoll_ctl, epoll, op, fd, event);
    closed_ones += rc < 0 && errno == EBADF;
    return rc;
}

static struct {
    uv_loop_t loop;
    struct shm_door door;
    struct shm memory;
    char name[SHM_NAME_MAX];
    uint32_t heard, until; /* hellos; the loop stops after `until` of them */
    uint64_t begun;        /* the session that said so */
    bool closes, refuses;
} it;

static bool on_hello(void *arg, const struct shm_message *message, struct shm_message *answer, int *ret_fd,
                     dp_error *err)
{
    (void)arg, (void)message;
    answer->planes = 1;
    *ret_fd = it.memory.fd;
    if (++it.heard == it.until)
        uv_stop(&it.loop);
    if (it.closes)
        shm_door_close(&it.door);
    if (it.refuses)
        (void)dp_fail(err, DP_PROTO, "no");
    return !it.refuses;
}

static void on_begin(void *arg, uint64_t session)
{
    (void)arg;
    it.begun = session;
}

static dp_err on_slab(void *arg, uint64_t session, const struct shm_message *message, int fd, dp_error *err)
{
    (void)arg, (void)session, (void)message, (void)fd;
    shm_door_close(&it.door);
    return dp_fail(err, DP_PROTO, "no");
}

static void on_malformed(void *arg, const dp_error *err)
{
    (void)arg;
    cr_assert_fail("%s", err->text);
}

static void open_door(uint32_t until)
{
    const struct shm_calls calls = {on_hello, on_begin, on_slab, on_malformed, NULL};
    dp_error err;
    it.until = until;
    snprintf(it.name, sizeof it.name, "dp-test-door-%ld", (long)getpid());
    cr_assert_eq(uv_loop_init(&it.loop), 0);
    cr_assert_eq(shm_new(4096, SHM_READERS, &it.memory, &err), DP_OK, "%s", err.text);
    cr_assert_eq(shm_door_open(&it.door, &it.loop, it.name, &calls, &err), DP_OK, "%s", err.text);
}

static void close_door(void)
{
    shm_door_close(&it.door);
    uv_run(&it.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&it.loop), 0);
    cr_assert_eq(closed_ones, 0);
    shm_fini(&it.memory);
    ASSERT_NO_LEAKS();
}

static int guest(void)
{
    int fd;
    dp_error err;
    cr_assert_eq(shm_connect(it.name, &fd, &err), DP_OK, "%s", err.text);
    return fd;
}

static int guest_says_hello(uint64_t session)
{
    struct shm_message hello = {.kind = SHM_HELLO, .session = session};
    int fd = guest();
    cr_assert_eq(shm_send(fd, &hello, -1), DP_OK);
    return fd;
}

static void assert_welcome(int fd)
{
    struct shm_message answer;
    dp_error err;
    int passed;
    cr_assert_eq(shm_receive(fd, &answer, &passed, &err), DP_OK, "%s", err.text);
    cr_assert_eq(answer.kind, SHM_WELCOME);
    close(passed);
    close(fd);
}

/* All workers of a job that begins come at the same time. */
Test(shm_door, all_of_a_crowd_come_in, .timeout = 60)
{
    int guests[CROWD];
    open_door(CROWD);
    for (int i = 0; i < CROWD; i++)
        guests[i] = guest_says_hello(1 + (uint64_t)i);
    uv_run(&it.loop, UV_RUN_DEFAULT);
    for (int i = 0; i < CROWD; i++)
        assert_welcome(guests[i]);
    close_door();
}

Test(shm_door, the_silent_make_room, .timeout = 60)
{
    int silent[SILENT];
    open_door(1);
    for (int i = 0; i < SILENT; i++)
        silent[i] = guest();
    int speaks = guest_says_hello(1);
    uv_run(&it.loop, UV_RUN_DEFAULT);
    assert_welcome(speaks);
    for (int i = 0; i < SILENT; i++)
        close(silent[i]);
    close_door();
}

/* A message by the socket lets the door hear at once what its session has said. */
Test(shm_door, what_was_said_is_heard_at_once_when_asked, .timeout = 60)
{
    struct shm_message begin = {.kind = SHM_BEGIN};
    open_door(1);
    int fd = guest_says_hello(7);
    uv_run(&it.loop, UV_RUN_DEFAULT);
    shm_door_hear(&it.door, 7);
    cr_assert_eq(it.begun, 0, "it has said nothing yet");
    cr_assert_eq(shm_send(fd, &begin, -1), DP_OK);
    shm_door_hear(&it.door, 8);
    cr_assert_eq(it.begun, 0, "that is another one");
    shm_door_hear(&it.door, 7);
    cr_assert_eq(it.begun, 7);
    assert_welcome(fd);
    close_door();
}

/* As a hello makes the shard look at its commands, of which one may be to stop. */
static void close_by_hello(bool refuses)
{
    open_door(0);
    it.closes = true;
    it.refuses = refuses;
    int fd = guest_says_hello(1), other = guest_says_hello(2);
    uv_run(&it.loop, UV_RUN_DEFAULT);
    cr_assert_geq(it.heard, 1);
    close(fd);
    close(other);
    close_door();
}

Test(shm_door, a_hello_may_close_it, .timeout = 60)
{
    close_by_hello(false);
}

Test(shm_door, a_hello_that_is_refused_may_close_it, .timeout = 60)
{
    close_by_hello(true);
}

Test(shm_door, a_slab_may_close_it, .timeout = 60)
{
    struct shm_message slab = {.kind = SHM_SLAB, .bytes = 4096};
    open_door(0);
    int fd = guest_says_hello(1);
    cr_assert_eq(shm_send(fd, &slab, it.memory.fd), DP_OK);
    uv_run(&it.loop, UV_RUN_DEFAULT);
    close(fd);
    close_door();
}
