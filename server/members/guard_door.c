/* The door of --allow-users. Thread: head. */
#include "server/members/guard_door.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/closer.h"
#include "common/base/util.h"

enum { ACCEPTS = 16, REST_MS = 500 };

static void serve(const struct guard *guard, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    uint8_t packet[DOOR_PACKET_BYTES], *key = packet + DOOR_PACKET_BYTES - PROOF_KEY_BYTES;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && guard_user_key(guard, (uint32_t)peer.uid, key)) {
        for (int i = 0; i < 4; i++)
            packet[i] = (uint8_t)((uint32_t)peer.uid >> 8 * i);
        (void)!send(fd, packet, sizeof packet,
                    MSG_NOSIGNAL | MSG_DONTWAIT); /* a client that does not read it asks again */
    }
    proof_forget(packet, sizeof packet);
    closer_close(fd);
}

static void on_door(uv_poll_t *poll, int status, int events);

static void on_rested(uv_timer_t *rest)
{
    struct guard_door *door = rest->data;
    if (closer_is_full())
        return;
    uv_timer_stop(rest);
    uv_poll_start(&door->poll, UV_READABLE, on_door);
}

/* Those that came before have left what does not close. */
static void door_rest(struct guard_door *door)
{
    uv_poll_stop(&door->poll);
    uv_timer_start(&door->rest, on_rested, REST_MS, REST_MS);
}

static void on_door(uv_poll_t *poll, int status, int events)
{
    struct guard_door *door = poll->data;
    (void)status;
    (void)events;
    if (closer_is_full()) {
        door_rest(door);
        return;
    }
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        serve(door->guard, fd);
    }
}

dp_err guard_door_open(struct guard_door *door, uv_loop_t *loop, const struct guard *guard, dp_error *err)
{
    char name[SHM_NAME_MAX];
    snprintf(name, sizeof name, "dp-door-%016" PRIx64, entropy_u64());
    dp_err e = shm_listen(name, &door->fd, err);
    if (e)
        return e;
    int rc = uv_poll_init(loop, &door->poll, door->fd);
    if (rc) {
        close(door->fd);
        return dp_fail(err, DP_SYSTEM, "cannot watch the Unix socket @%s: %s", name, uv_strerror(rc));
    }
    door->guard = guard;
    uv_timer_init(loop, &door->rest);
    door->poll.data = door->rest.data = door;
    (void)str_copy(door->name, sizeof door->name, name);
    uv_poll_start(&door->poll, UV_READABLE, on_door);
    return DP_OK;
}

void guard_door_close(struct guard_door *door)
{
    if (!door->name[0])
        return;
    door->name[0] = '\0';
    uv_poll_stop(&door->poll);
    closer_close(door->fd);
    uv_close((uv_handle_t *)&door->poll, NULL);
    uv_close((uv_handle_t *)&door->rest, NULL);
}
