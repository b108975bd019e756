/* Leases: members that are silent for too long, or whose connections are gone, are lost. Thread: head. */
#ifndef DP_SERVER_ASSIGN_LEASE_H
#define DP_SERVER_ASSIGN_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/host/ticks.h"

struct head;
struct news;

struct lease {
    struct ticks ticks;
    uint64_t low_seen; /* global_low at the last tick */
    bool stands_still; /* it was the same at the one before */
    bool alone;        /* the job waits for a worker, and the log says so */
};

/* The job is no longer settled. */
void head_lease_stop(struct head *head);
/* NEWS_TICK: silence, connections; slots that could not be sent; whether the job waits for workers. */
void head_lease_watch(struct head *head, const struct news *news);
void head_lease_send_again(struct head *head, const struct news *news);
void head_lease_alone(struct head *head, const struct news *news);

#endif
