/* The state of a part of a table: types only, for the files of this room; see part.h for the invariants. Thread: shard.
 */
#ifndef DP_SERVER_TABLE_STATE_H
#define DP_SERVER_TABLE_STATE_H

#include "server/step/job.h"
#include "server/step/steps.h"
#include "server/table/rule.h"
#include "server/table/sum.h"

enum { PART_STEPS = SLICE_VERSIONS };

/* Ids [first, last] of a table. */
struct part_range {
    uint32_t tensor;
    uint64_t first, last;
};

/* Rows as they were before a step's commit. */
struct undo {
    struct rowlist *list; /* NULL: the step changed no row */
    float *records;       /* [list->count * stride] */
};

struct part_node {
    struct rowsum rows;
    struct metrics metrics;
};

struct part_kept;

struct part {
    const struct shard_job *job;
    struct part_range range;
    struct steps window;
    struct part_node *nodes; /* [2 * leaves], by heap number, of the open step */
    struct table table;
    struct rowrule rule;
    struct part_kept *kept;       /* rows as they were at a cut (keep.h); NULL: nothing is kept */
    struct undo undo[PART_STEPS]; /* of step t at t % PART_STEPS */
    uint64_t undo_bytes;
    double *reports[PART_STEPS]; /* sums of step t at t % PART_STEPS, NULL for steps without a report */
    uint64_t oldest;             /* first t that can be read */
    uint32_t *replaced;          /* [K], for steps_offer */
    uint64_t total_steps;
    uint64_t infinite_from; /* 1 + the first step after whose commit a row or its state was not finite; 0: none */
};

#endif
