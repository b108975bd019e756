/* Waiting for the next step: deadlines, and what people are told. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_WAIT_H
#define DP_WORKER_CLIENT_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/dp.h"

struct wait {
    uint64_t awake_ms; /* last turn of a waiting loop, and the first of those without a gap: */
    uint64_t awake_since_ms;
    uint64_t silence_notice_ms; /* next time a person is told that the head is silent; 0: not silent */
    uint64_t notice_ms;         /* next time a person is told what is waited for, and the gap to the one after */
    uint64_t notice_gap_ms;
};

/* Looks, without waiting, for which links something has arrived. DP_SYSTEM. */
DP_MUST_CHECK dp_err wait_look(struct dp_client *client, dp_error *err);
/* Waits a short while for something to arrive; sends again what is due and tells the user what takes long.
 * DP_UNREACHABLE if the server has been silent for too long. */
DP_MUST_CHECK dp_err wait_once(struct dp_client *client, dp_error *err);
/* The next step has begun: a later wait is told of anew. */
void wait_ends(struct wait *wait);
/* Whether the head has been heard of lately. */
bool wait_head_alive(struct dp_client *client);

#endif
