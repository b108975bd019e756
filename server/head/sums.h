/* Sums over all shards, at the head. Thread: head. */
#ifndef DP_SERVER_HEAD_SUMS_H
#define DP_SERVER_HEAD_SUMS_H

#include <stdint.h>

#include "common/base/dp_err.h"
#include "server/step/block_sums.h"
#include "server/step/report.h"

struct event;
struct head;

struct sums {
    struct exchange exchange;
    struct report report; /* the last one */
    double *pull;         /* scratch of the multipliers; NULL: the job has none */
};

/* The job is settled. DP_NOMEM. */
DP_MUST_CHECK dp_err head_sums_start(struct head *head);
/* A settled job goes on from a checkpoint: its multipliers. DP_IO, DP_DATA naming a file. */
DP_MUST_CHECK dp_err head_sums_resume(struct head *head, dp_error *err);
/* It is no longer. */
void head_sums_stop(struct head *head);
void head_on_sums(struct head *head, uint32_t shard, struct event *event);

#endif
