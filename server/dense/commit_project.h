/* Projections of theta_{t+1} on whole vectors, which shards share: rounds of sums, until each constraint knows its
 * projection. Thread: shard. */
#ifndef DP_SERVER_DENSE_COMMIT_PROJECT_H
#define DP_SERVER_DENSE_COMMIT_PROJECT_H

#include "common/terms/project.h"
#include "common/terms/joint_whole.h"
#include "server/dense/commit.h"

/* The state of the projection on one constraint on a whole vector. */
struct projection {
    struct michelot threshold; /* simplex, l1-ball */
    double factor;             /* l2-ball */
    double shift;              /* sum: of each element; linear: of the row */
    bool searches;             /* its multiplier is searched for, since regularizers or step sizes bear on it */
    struct joint_search search;
    bool started, done;
};
struct projection commit_projection(const struct shard_job *job, uint32_t constraint);
/* Sums per constraint and block for the next round. */
enum { PROJECT_VALUES = JOINT_SUMS };
void commit_project_sums(struct slice *slice, const struct commit *commit, const struct projection *projections,
                         const float *w, double *sums);
/* Takes in the sums over all; true once all are done. */
bool commit_project_round(const struct shard_job *job, struct projection *projections, const double *totals);
void commit_project(struct slice *slice, const struct commit *commit, const struct projection *projections, float *w);

#endif
