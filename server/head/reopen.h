/* A job that is settled and has not begun: it is settled anew by other data once its workers are gone. Thread: head. */
#ifndef DP_SERVER_HEAD_REOPEN_H
#define DP_SERVER_HEAD_REOPEN_H

#include <stdbool.h>

struct head;
struct member;

/* Whether the job is settled and has not begun: no step is complete. */
bool head_unbegun(const struct head *head);
/* Likewise, and nobody is left of those who settled it: who says hello is told of no settled job. */
bool head_vacant(const struct head *head);
/* Whether the job has not begun, so that it is to be found out, when another worker comes, whether its members are
 * gone. If the port must be asked, it answers later (head_post_ask). */
bool head_looks_for_members(const struct head *head);
/* Whether the hello or join at hand is put off until it is known if its namesake (NULL: there is none), and those that
 * are looked for, are still connected. */
bool head_post_ask(struct head *head, const struct member *namesake);
/* Forgets what settled a vacant job. All who have said hello must say it again. */
void head_reopen(struct head *head, const char *reason);

#endif
