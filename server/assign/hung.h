/* Workers whose heartbeats go on and that deliver nothing. Thread: head. */
#ifndef DP_SERVER_ASSIGN_HUNG_H
#define DP_SERVER_ASSIGN_HUNG_H

#include <stdbool.h>

struct head;
struct member;
struct news;

/* Deals anew where others are hung than at the last deal. */
void head_hung_deal(struct head *head);
/* NEWS_STEP: the same. */
void head_hung_step(struct head *head, const struct news *news);
/* NEWS_TICK: probes, and what is said. */
void head_hung_watch(struct head *head, const struct news *news);
/* Whether nobody is left that delivers: it need not be waited for. */
bool head_hung_all(const struct head *head);
/* A member says that it goes on: it is probed again soon. */
void head_hung_heard(struct member *member);

#endif
