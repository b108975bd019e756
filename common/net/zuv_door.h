/* A Unix socket of an abstract name on a loop: each connection is handed to the owner. While too many descriptors wait
 * to be closed (common/base/closer.h), no connection is accepted. Thread: that of the loop. */
#ifndef DP_COMMON_NET_ZUV_DOOR_H
#define DP_COMMON_NET_ZUV_DOOR_H

#include <stdbool.h>
#include <uv.h>

#include "common/net/shm_wire.h"

/* Takes a connection, which may close the door. */
typedef void (*zuv_door_take)(void *arg, int fd);

/* A zeroed one is closed. */
struct zuv_door {
    char name[SHM_NAME_MAX];
    bool open;
    int fd;
    uv_poll_t poll;
    uv_timer_t rest;
    zuv_door_take take;
    void *arg;
};

/* DP_SYSTEM with the reason. */
DP_MUST_CHECK dp_err zuv_door_open(struct zuv_door *door, uv_loop_t *loop, const char *name, zuv_door_take take,
                                   void *arg, dp_error *err);
/* The loop must run once more. */
void zuv_door_close(struct zuv_door *door);

#endif
