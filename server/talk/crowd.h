/* Descriptors that run short. Thread: head. */
#ifndef DP_SERVER_TALK_CROWD_H
#define DP_SERVER_TALK_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "server/members/crowd.h"

struct head;
struct news;

struct crowding {
    struct crowd crowd;
    bool crowded;         /* no descriptors are left, and the log says so */
    uint64_t turned_away; /* connections for which there were none, at the last tick */
};

/* The server listens, and has no peers yet. */
void head_crowd_start(struct head *head);
/* Whether there are descriptors for one more worker: DP_BUSY, with what to do. */
DP_MUST_CHECK dp_err head_crowd_admit(struct head *head, dp_error *err);
/* NEWS_TICK. */
void head_crowd_watch(struct head *head, const struct news *news);

#endif
