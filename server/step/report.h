/* The report of a step about theta_t, the theta that the step's loss is of: the terms of the objective, how far
 * constraints are from being met, how sparse it is, and the norm of the gradient. From sums over all shards. Pure
 * arithmetic. Thread: head. */
#ifndef DP_SERVER_STEP_REPORT_H
#define DP_SERVER_STEP_REPORT_H

#include "server/step/job.h"

struct report {
    bool known;
    uint64_t train_step;
    double regularizer;                 /* R(theta) */
    double violation;                   /* |C(theta)|: the root of the sum of squares of what is violated */
    double violations[CONSTRAINTS_MAX]; /* of each constraint */
    double zeros;                       /* elements that are exactly 0, of all `elems` */
    double elems;
    double gradient_norm; /* of the mean gradient of the data loss, before clipping */
    double lr;
    struct multipliers multipliers; /* augmented: after the last gathering */
};

/* totals[tensor][shard_job_report_values]. The multipliers stay. */
void report_take(struct report *report, const struct shard_job *job, uint64_t train_step, const double *totals);

#endif
