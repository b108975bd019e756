/* The door, an abstract Unix socket. The kernel says who comes (SO_PEERCRED); an allowed user gets uid and key in one
 * packet, others nothing; nobody is waited for, and nothing is read. Thread: head. */
#ifndef DP_SERVER_MEMBERS_GUARD_DOOR_H
#define DP_SERVER_MEMBERS_GUARD_DOOR_H

#include "common/net/zuv_door.h"
#include "server/members/guard.h"

/* zuv_door_close closes it; `guard` must live until then. */
DP_MUST_CHECK dp_err guard_door_open(struct zuv_door *door, uv_loop_t *loop, const struct guard *guard, dp_error *err);

#endif
