/* The shards are told of a deal before its workers are, so that they know what each may push (server/deal/grants.h).
 * Thread: head. */
#ifndef DP_SERVER_ASSIGN_GRANTS_H
#define DP_SERVER_ASSIGN_GRANTS_H

#include <stdint.h>

#include "common/base/dp_err.h"

struct head;

/* Tells the shards who may push what, unless they know it. Called before workers are told their slots, who are not told
 * where it fails. DP_NOMEM, DP_BUSY. */
DP_MUST_CHECK dp_err head_grant(struct head *head);
/* The same with a slot of a step to come, for a member that another one holds it beside. */
DP_MUST_CHECK dp_err head_grant_probe(struct head *head, uint32_t number, uint64_t step, uint32_t slot);
/* The deal that the shards know is void. */
void head_grant_forget(struct head *head);

#endif
