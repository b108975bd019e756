/* The facts of a job that a shard goes by, the same for all its pieces, and the sums that pieces give of a step. Pure
 * values. Thread: any. */
#ifndef DP_SERVER_STEP_JOB_H
#define DP_SERVER_STEP_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/history.h"
#include "common/tensor/plan.h"
#include "common/tensor/tensor.h"
#include "common/terms/constraint.h"
#include "common/terms/regularize.h"
#include "server/step/consistency.h"
#include "server/step/steps.h"
#include "server/update/update.h"

struct keep_room;
struct planes;
struct values_source;

enum { SLICE_VERSIONS = 64 }; /* of a piece that may be held at once */

struct metrics metrics_add(struct metrics a, struct metrics b);
/* The sum over the tree of the window's open step: `nodes` is the metrics of heap number 0, those of node i lie
 * i * stride_bytes behind it. */
struct metrics metrics_sum(const struct steps *window, const struct metrics *nodes, size_t stride_bytes);

/* The facts that are the same for all pieces of a job. Borrowed for their life. */
struct shard_job {
    struct plan plan;
    uint64_t first_step; /* the job begins here: windows open at it, and the steps before it are complete everywhere;
                            at most plan_total */
    struct values_source *from; /* of the values at that step; NULL: the initializers */
    bool local;          /* workers have data of their own: a step has as many samples as came, slots may be void */
    const uint8_t *live; /* local: [slots] of the shard's roster, which the job's copy in the shard refers to */
    bool droppable;   /* the head may leave slots out of a step: they are pushed one by one, and it says what commits */
    uint32_t slowest; /* droppable: how many of a training step are left out once the others are there */
    struct tensors tensors;
    const struct update_rule *rule;
    struct update_params params;
    struct regular regular[TENSOR_COUNT_MAX];
    struct constraints constraints;
    struct consistency consistency;
    uint32_t past;               /* versions of a slice to keep for gradients that come late */
    const struct planes *planes; /* of the shard, NULL where versions are not shared */
    struct keep_room *room;      /* of the shard, for what cuts copy; NULL until the first cut, or out of memory */
};

/* The staleness of a step of the job: 0 where it commits once, as those do that leave theta alone; else its slots
 * commit on arrival. */
uint32_t shard_job_staleness(const struct shard_job *job, uint64_t step);
/* Whether the step's report is made: at the last step of each epoch. */
bool shard_job_reports(const struct plan *plan, const struct plan_step *at);

/* A step's report: sums per block, */
enum {
    REPORT_MAGNITUDES,
    REPORT_SQUARES,
    REPORT_GROUPS,
    REPORT_ZEROS,
    REPORT_ELEMS,
    REPORT_GRADIENT,
    REPORT_VALUES
}; /* and the constraints' */
uint32_t shard_job_report_values(const struct shard_job *job);
/* and how many a job's constraints have. */
uint32_t shard_job_constraint_values(const struct shard_job *job);

#endif
