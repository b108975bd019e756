/* Hellos and requests that need a proof; see server/members/guard.h. Thread: head. */
#ifndef DP_SERVER_TALK_GUARD_H
#define DP_SERVER_TALK_GUARD_H

#include <stdbool.h>

#include "proto/frame.h"
#include "server/members/members.h"

struct head;

/* Reads the secret, and opens the door of --allow-users. */
DP_MUST_CHECK dp_err head_guard_start(struct head *head, dp_error *err);
/* Whether hellos, and requests that change the job or take the model, must be proved. */
bool head_guards_hello(const struct head *head);
bool head_guards_admin(const struct head *head);
/* Whether the sender of a hello may join; of any request that is for the server's user alone (set), whether it may ask
 * that. False: it has been answered, with a challenge or a refusal. */
bool head_may_join(struct head *head, const struct routing_id *route, const Dp__Header *request);
bool head_may_admin(struct head *head, const struct routing_id *route, const Dp__Header *request);

#endif
