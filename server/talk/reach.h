/* Whether members are there: a worker whose connection is gone cannot be sent to. Thread: head. */
#ifndef DP_SERVER_TALK_REACH_H
#define DP_SERVER_TALK_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include "server/members/members.h"
#include "server/net/post.h"

struct head;

/* The time between heartbeats. */
uint64_t head_heartbeat_ms(const struct head *head);
/* Tells a member how far the job is. */
dp_err head_probe(struct head *head, const struct member *member, enum letter_about about);
/* The same: whether its connection takes it, as far as that is known at once. */
bool head_reachable(struct head *head, const struct member *member);

#endif
