/* Slots that the shards are owed of a step. Thread: head. */
#ifndef DP_SERVER_ASSIGN_OWED_H
#define DP_SERVER_ASSIGN_OWED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct head;
struct event;

/* The slots of a step that the shards say they are owed. */
struct owed {
    uint64_t step;    /* they were asked of */
    uint32_t missing; /* answers */
    uint32_t holding; /* shards that have parameters */
    uint32_t shards;  /* of those that have answered: that are owed any */
    bool passed;      /* one of them was not asked, or is at another step */
    bool *slots;      /* [slots] that any of them is owed, so far */
    void (*then)(struct head *head);
};

DP_MUST_CHECK dp_err head_owed_start(struct head *head);
void head_owed_stop(struct head *head);
/* Asks them; `then` is called once, when all have answered. Nobody asks while answers are missing. */
void head_owed_ask(struct head *head, uint64_t step, void (*then)(struct head *head));
void head_on_owed(struct head *head, const struct event *event);
/* The slots that any of them is owed, ascending, to slots[]; returns how many. */
uint32_t head_owed_list(const struct head *head, uint32_t *slots);

#endif
