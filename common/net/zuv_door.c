/* A Unix socket on a loop; see zuv_door.h. */
#include "common/net/zuv_door.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/base/closer.h"
#include "common/base/text.h"

enum { ACCEPTS = 16, REST_MS = 500 };

static void on_door(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *rest)
{
    struct zuv_door *door = rest->data;
    if (closer_is_full())
        return;
    uv_timer_stop(rest);
    uv_poll_start(&door->poll, UV_READABLE, on_door);
}

/* Too many descriptors of earlier peers wait to be closed. */
static void door_rest(struct zuv_door *door)
{
    uv_poll_stop(&door->poll);
    uv_timer_start(&door->rest, on_rested, REST_MS, REST_MS);
}

static void on_door(uv_poll_t *poll, int status, int events)
{
    struct zuv_door *door = poll->data;
    (void)status;
    (void)events;
    if (closer_is_full()) {
        door_rest(door);
        return;
    }
    for (int i = 0; i < ACCEPTS && door->open; i++) {
        int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        door->take(door->arg, fd);
    }
}

dp_err zuv_door_open(struct zuv_door *door, uv_loop_t *loop, const char *name, zuv_door_take take, void *arg,
                     dp_error *err)
{
    *door = (struct zuv_door){.take = take, .arg = arg};
    dp_err e = shm_listen(name, &door->fd, err);
    if (e)
        return e;
    int rc = uv_poll_init(loop, &door->poll, door->fd);
    if (rc) {
        close(door->fd);
        return dp_fail(err, DP_SYSTEM, "cannot watch the Unix socket @%s: %s", name, uv_strerror(rc));
    }
    uv_timer_init(loop, &door->rest);
    door->poll.data = door->rest.data = door;
    door->open = true;
    (void)str_copy(door->name, sizeof door->name, name);
    uv_poll_start(&door->poll, UV_READABLE, on_door);
    return DP_OK;
}

void zuv_door_close(struct zuv_door *door)
{
    if (!door->open)
        return;
    door->open = false;
    uv_close((uv_handle_t *)&door->poll, NULL);
    uv_close((uv_handle_t *)&door->rest, NULL);
    closer_close(door->fd);
}
