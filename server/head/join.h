/* Workers that have read their data join. Thread: head. */
#ifndef DP_SERVER_HEAD_JOIN_H
#define DP_SERVER_HEAD_JOIN_H

#include "proto/frame.h"

struct head;
struct member;

/* The member came by its route. */
void head_on_join(struct head *head, struct member *member, const Dp__Header *request);

#endif
