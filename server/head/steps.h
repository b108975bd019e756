/* Steps become complete on all shards. Thread: head. */
#ifndef DP_SERVER_HEAD_STEPS_H
#define DP_SERVER_HEAD_STEPS_H

#include <stdint.h>

#include "server/step/job.h"

struct event_completed;
struct head;

struct steps_state {
    uint32_t first_port;                    /* the shard whose metrics count */
    struct metrics metrics[SLICE_VERSIONS]; /* of steps >= global_low, at step % SLICE_VERSIONS */
    uint64_t diverged_step;                 /* of a job that diverged: which training step's loss was the first */
    uint64_t
        infinite_from; /* 1 + the first step whose loss, theta or state is not finite, as any shard says; 0: none */
    char blamed[256];  /* the first gradient that is not finite, in words; "": not known */
};

/* The job is settled no longer. */
void head_steps_stop(struct head *head);
/* A shard has completed a step. */
void head_on_completed(struct head *head, uint32_t shard, const struct event_completed *completed);
/* Moves global_low to the least of the shards', reports the steps before it, and says NEWS_STEP. */
void head_raise_low(struct head *head);

#endif
