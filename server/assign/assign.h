/* Members are told their slots, and the shards before them. Thread: head. */
#ifndef DP_SERVER_ASSIGN_ASSIGN_H
#define DP_SERVER_ASSIGN_ASSIGN_H

#include "server/members/members.h"

struct head;

/* Tells a member its slots; some; all of them. */
void head_assign(struct head *head, uint32_t number);
void head_assign_to(struct head *head, const uint32_t *numbers, uint32_t count);
void head_assign_all(struct head *head);
/* Tells a member its slots, and one more of a step to come, which another one holds too. */
DP_MUST_CHECK dp_err head_assign_probe(struct head *head, uint32_t number, uint64_t step, uint32_t slot);
/* A member was sent its slots, with this result. If its queue was full they are sent again, every tick. */
void head_assigned(struct head *head, struct member *member, dp_err e);

#endif
