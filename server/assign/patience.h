/* Patience with the open step. Thread: head. */
#ifndef DP_SERVER_ASSIGN_PATIENCE_H
#define DP_SERVER_ASSIGN_PATIENCE_H

struct head;
struct news;

/* NEWS_TICK: where the open step stands still for the stall time-out, though workers are there, the gate is told. */
void head_patience_watch(struct head *head, const struct news *news);

#endif
