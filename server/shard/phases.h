/* The commits of a global rule on one shard: passes over all its slices, with sums over all shards in between. Between
 * passes the shard goes on reading messages; nothing of theta_{t+1} is seen before it is whole.
 *
 *   gather   for rules that need norms of the gradient, or penalties that need the constraints' state: sums
 *   step     the rule's step, the proximal step, projections of elements and rows, unpublished; LAMB: sums, then
 * descend project  rounds of sums, until each constraint on a whole vector knows its projection publish  all slices at
 * once
 *
 * Invariant: the next pass is a function of the totals alone, and they are the same on all shards; so all shards go
 * through the same phases. Thread: shard. */
#ifndef DP_SERVER_SHARD_PHASES_H
#define DP_SERVER_SHARD_PHASES_H

#include "server/dense/commit_project.h"
#include "server/link/event.h"

struct shard;

struct phases {
    bool needed; /* the job's rule is global */
    bool busy;   /* waits for totals */
    enum phases_pass { PASS_GATHER, PASS_LAMB, PASS_PROJECT } pass;
    uint64_t step;
    uint32_t phase; /* exchanges of this step so far */
    struct commit commit;
    struct version **pending; /* [slice_count] theta_{t+1} */
    double *pull_sums;        /* [shard_job_constraint_values] */
    struct projection projections[CONSTRAINTS_MAX];
    struct multipliers multipliers;
};

DP_MUST_CHECK dp_err phases_init(struct phases *phases, const struct shard_job *job, uint32_t slice_count);
void phases_fini(struct phases *phases, uint32_t slice_count);
/* The outcome of a pass, for the shard to act on. */
struct phases_news {
    enum {
        PHASES_WAIT,      /* nothing to do: pieces are missing, or totals are under way */
        PHASES_SUMS,      /* the head must add up `sums`, which it owns */
        PHASES_PUBLISHED, /* all slices have theta_{t+1} */
        PHASES_NOMEM,     /* the job cannot go on */
    } kind;
    struct event_sums sums;
};
/* Commits the open training step of all slices if all are ready. */
struct phases_news phases_try(struct shard *shard);
/* Totals of the phase that is waited for, [tensor][value]; others are ignored. */
struct phases_news phases_totals(struct shard *shard, uint64_t step, uint32_t phase, const double *totals);

/* Takes from the gather's totals the scale of clipping by norm, LARS's trust ratios, and the constraints' sums (to
 * pull_sums) with the multipliers' weights. Brings the multipliers up to date. */
void global_take_gathered(const struct shard_job *job, const double *totals, struct commit *commit, double *pull_sums,
                          struct multipliers *multipliers);

#endif
