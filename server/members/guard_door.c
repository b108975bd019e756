/* The door of --allow-users. Thread: head. */
#include "server/members/guard_door.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/base/closer.h"
#include "common/base/entropy.h"

static void serve(void *arg, int fd)
{
    const struct guard *guard = arg;
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

dp_err guard_door_open(struct zuv_door *door, uv_loop_t *loop, const struct guard *guard, dp_error *err)
{
    char name[SHM_NAME_MAX];
    snprintf(name, sizeof name, "dp-door-%016" PRIx64, entropy_u64());
    return zuv_door_open(door, loop, name, serve, (void *)guard, err);
}
