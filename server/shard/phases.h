/* The commits of a global rule on one shard: passes over all its slices, with sums over all shards in between. Between
 * passes the shard goes on reading messages; nothing of theta_{t+1} is seen before it is whole.
 *
 *   gather   where the rule needs norms of the gradient or penalties the state of the constraints; sums
 *   step     the rule's step, the proximal step, projections of elements and rows, unpublished; LAMB: sums, then
 * descend project  rounds of sums, until each constraint on a whole vector knows its projection publish  all slices at
 * once
 *
 * Invariant: what is done with the totals is a function of them alone, and they are the same on all shards; so all
 * shards go through the same phases. Thread: shard. */
#ifndef DP_SERVER_SHARD_PHASES_H
#define DP_SERVER_SHARD_PHASES_H

#include "server/dense/commit_project.h"

struct shard;

struct global {
    bool needed; /* the job's rule is global */
    bool busy;   /* waits for totals */
    enum global_pass { PASS_GATHER, PASS_LAMB, PASS_PROJECT } pass;
    uint64_t step;
    uint32_t phase; /* exchanges of this step so far */
    struct commit commit;
    struct version **pending; /* [slice_count] theta_{t+1} */
    double *pull_sums;        /* [shard_job_constraint_values] */
    struct projection projections[CONSTRAINTS_MAX];
    struct multipliers multipliers;
};

DP_MUST_CHECK dp_err global_init(struct global *global, const struct shard_job *job, uint32_t slice_count);
void global_fini(struct global *global, uint32_t slice_count);
/* Commits the open training step of all slices if all are ready; true if it was published at once. */
bool global_try(struct shard *shard);
/* Totals of the phase that is waited for, [tensor][value]; others are ignored. True if the step was published. */
bool global_totals(struct shard *shard, uint64_t step, uint32_t phase, const double *totals);

/* From the gather's totals, what the step goes by: the scale of clipping by norm and LARS's trust ratios, and the
 * constraints' sums (to pull_sums) with the multipliers' weights. Brings the multipliers up to date. */
void global_take_gathered(const struct shard_job *job, const double *totals, struct commit *commit, double *pull_sums,
                          struct multipliers *multipliers);

#endif
