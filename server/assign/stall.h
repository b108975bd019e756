/* Steps that wait for too long: what is said, and what is done about it. Thread: head. */
#ifndef DP_SERVER_ASSIGN_STALL_H
#define DP_SERVER_ASSIGN_STALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct head;
struct news;

/* A step that waits. */
struct stall {
    uint64_t opened_ms; /* when the open step was opened */
    bool reported;      /* this step is one that stalls */
    bool put_off;       /* that was not said yet, because what it waits for is on its way */
};

/* The job is no longer settled. */
void head_stall_stop(struct head *head);
/* Asks the shards what they are owed of the open step, reports it and does what --on-stall says. */
void head_stall_ask(struct head *head);
/* Reports the slots that the open step is owed, and does what --on-stall says, unless they are dropped. */
void head_stall_owed(struct head *head, const uint32_t *owed, uint32_t count, bool dropped);
/* NEWS_STEP. */
void head_stall_step(struct head *head, const struct news *news);
/* The open step: how long it waits, and for whom; a new reference. */
json_t *head_waits_json(const struct head *head);

#endif
