/* One training step's commit on a slice, in passes over blocks: a block is what the layout never cuts, whole rows and
 * groups of one tensor, and sums are kept per block, so that added in block order they have the same bits for any
 * number of shards.
 *
 * The order is MATH.md's: mean, clipping, coupled L2 and penalties, decoupled decay, the rule's step, the proximal
 * step, projection. A local rule does all of it in one pass over memory. A global one (clipping by norm, LARS, LAMB,
 * constraints on whole vectors) does it in several, between which sums go to the head and come back added up over all
 * shards; see server/shard/phases.h. Thread: shard. */
#ifndef DP_SERVER_DENSE_COMMIT_H
#define DP_SERVER_DENSE_COMMIT_H

#include "common/terms/joint.h"
#include "server/dense/state.h"

/* The numbers of one step's commit, the same for all slices and shards. */
struct commit {
    const struct shard_job *job;
    uint64_t t; /* training step */
    uint64_t samples;
    double eta;                     /* of this commit: on arrival, of its fraction of a step */
    const struct update_part *part; /* on arrival; NULL: the commit is a whole step */
    const float *read; /* theta that the gradient was computed on, to compensate it; NULL: taken as it is */
    double gain;       /* on arrival: the rule's factor of the gradient; else 1 */
    double clip_scale; /* of clipping by norm */
    double trust[TENSOR_COUNT_MAX];       /* LARS: eta's factor; LAMB: length along its direction per eta */
    const double *pull_sums;              /* penalties: constraint sums of theta_t, one constraint after the other */
    double weights[CONSTRAINT_TERMS_MAX]; /* penalties: of each term */
};

struct commit commit_at(const struct shard_job *job, uint64_t t, uint64_t samples);
/* A commit on arrival, of `samples` of step t; borrows part. */
struct commit commit_part_at(const struct shard_job *job, uint64_t t, uint64_t samples, const struct update_part *part);

/* Sums per block of each pass. */
enum { GATHER_GRADIENT, GATHER_WEIGHT, GATHER_VALUES }; /* and the constraints' where not projected */
enum { LAMB_WEIGHT, LAMB_DIRECTION, LAMB_VALUES };      /* squares */
uint32_t commit_gather_values(const struct shard_job *job);

/* The tree's mean gradient, clipped by value, to slice->mean, and its sums. Optional: commit_step folds for itself
 * where there is no slice->mean. */
void commit_gather(struct slice *slice, const struct commit *commit, const float *w, double *sums);
/* Step, proximal step and what can be projected without sums of the whole. For LAMB only the direction, to out, and its
 * sums. `report`: sums of theta_t and the gradient, NULL if not wanted. Every commit goes through here once, and the
 * optimizer's state changes nowhere else. */
void commit_step(struct slice *slice, const struct commit *commit, const float *w, float *out, double *report,
                 double *lamb);
/* The report alone, of theta where no whole step's gradient is known: its norm is NaN. */
void commit_report(const struct slice *slice, const float *w, double *report);
/* LAMB's second half: out is the direction and becomes theta_{t+1}. */
void commit_descend(struct slice *slice, const struct commit *commit, const float *w, float *out);

/* Whether a constraint is projected with sums of the whole. */
bool commit_projects_globally(const struct shard_job *job, uint32_t constraint);
/* Whether the job's rule is global: its commits need sums over all slices. */
bool commit_is_global(const struct shard_job *job);
/* Whether slots can be committed on arrival: not by global rules. */
bool commit_may_arrive(const struct shard_job *job);
/* Whether its first pass gathers the gradient and sums. */
bool commit_gathers(const struct shard_job *job);

#endif
