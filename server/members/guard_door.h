/* The door, an abstract Unix socket. The kernel says who comes (SO_PEERCRED); an allowed user gets uid and key in one
 * packet, others nothing; nobody is waited for, and nothing is read. Thread: head. */
#ifndef DP_SERVER_MEMBERS_GUARD_DOOR_H
#define DP_SERVER_MEMBERS_GUARD_DOOR_H

#include <uv.h>

#include "common/net/shm_wire.h"
#include "server/members/guard.h"

struct guard_door {
    char name[SHM_NAME_MAX]; /* empty: closed */
    int fd;
    uv_poll_t poll;
    uv_timer_t rest;
    const struct guard *guard;
};
DP_MUST_CHECK dp_err guard_door_open(struct guard_door *door, uv_loop_t *loop, const struct guard *guard,
                                     dp_error *err);
/* The loop must run once more. A zeroed one is closed. */
void guard_door_close(struct guard_door *door);

#endif
