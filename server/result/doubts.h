/* Warnings about the training: whether it goes anywhere. Thread: head. */
#ifndef DP_SERVER_RESULT_DOUBTS_H
#define DP_SERVER_RESULT_DOUBTS_H

#include <jansson.h>
#include <stdint.h>

#include "common/tensor/plan.h"
#include "server/show/trend.h"

struct head;
struct metrics;

/* For a loss that rises, or is no number any more. */
#define DOUBTS_REMEDY "scale the features, or use a smaller --lr"

enum { DOUBTS_MAX = 8, DOUBT_TEXT_MAX = 700 };

struct doubts {
    struct trend trend;
    uint32_t count;
    char texts[DOUBTS_MAX][DOUBT_TEXT_MAX]; /* that were said */
};

/* The job is settled; it is no longer. */
void head_doubts_begin(struct head *head);
void head_doubts_stop(struct head *head);
/* A step is complete: sums over its samples. */
void head_doubts_step(struct head *head, const struct plan_step *at, const struct metrics *m);
/* No step will follow. */
void head_doubts_end(struct head *head);
/* The texts; a new reference. */
json_t *head_doubts_json(const struct head *head);

#endif
