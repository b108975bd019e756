/* One slice of a shard: a run of theta with its versions, its optimizer state and its own step window. A slice commits
 * a step as soon as the step's tree is complete for it, so that receiving, updating and answering overlap over slices.
 *
 * Invariants:
 *   1. theta_t, what step t is computed on, is held for each t in [global_low, window.next], at most SLICE_VERSIONS of
 * them. A version is written once, before anyone else can see it, and never again while somebody holds a reference.
 *   2. The payload of each node present in the window is held, unchanged since it arrived but for folds of siblings
 * (left + right); one that is a worker's memory is only read. A commit may write theta_{t+1} over one of the step's
 * payloads, element by element as it reads them, which is that version's memory from then on.
 *   3. theta_{t+1} is a function of theta_t, the state and the set of slots of t alone: not of the order of arrival.
 * Steps whose commits are on arrival (server/step/consistency.h) have no theta of their own: at[next] is what all of
 * them see; 1 holds of it likewise, as a commit writes to it only while nobody else has it, else to a copy
 * (on_arrival.h). Knows no network. Thread: shard; a version may be released from any thread. */
#ifndef DP_SERVER_DENSE_SLICE_H
#define DP_SERVER_DENSE_SLICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/util.h"
#include "server/dense/kept_versions.h"
#include "server/dense/planes.h"
#include "server/step/job.h"
#include "server/step/steps.h"

#define VERSION_UNSHARED UINT32_MAX

enum { SLICE_SEGMENTS_MAX = TENSOR_COUNT_MAX, SLICE_FOLD = 1024 };

/* theta of a slice after `number` commits of training steps. */
struct version {
    _Atomic uint32_t refs;
    uint32_t plane; /* of the job's planes, VERSION_UNSHARED where it is in none */
    uint64_t number;
    float *theta;       /* [elems] */
    struct blob memory; /* of theta: its own, or once a push's payload; none in a plane */
    struct version *next;
};
/* Takes another reference; the caller holds one or is the slice. */
void version_retain(struct version *version);
/* Gives a reference back. Any thread. */
void version_release(struct version *version);

/* A node that is present: its gradient sum (empty for evaluation steps) and metrics. */
struct node {
    struct blob gradient;
    struct metrics metrics;
    uint32_t from; /* 1 + number of the session that brought it; 0: not known, or several did */
};

/* The origin of the first number that is not finite. */
struct blame {
    uint32_t node; /* heap number of the first gradient that is not; 0: none is, or it is not known */
    uint32_t from; /* as in struct node */
    bool state;    /* theta is finite still, the optimizer's state is not: it overflowed */
};

struct slice {
    const struct shard_job *job;
    struct range range;
    uint32_t segment_count;
    struct segment segments[SLICE_SEGMENTS_MAX];
    struct steps window;
    uint64_t limit;                         /* no step from here on is opened; UINT64_MAX: none */
    struct node *nodes;                     /* [2 * leaves], by heap number, of the open step; none on arrival */
    struct metrics arrived[SLICE_VERSIONS]; /* on arrival: of step t so far, at t % SLICE_VERSIONS */
    double passed;                          /* training steps committed, with fractions on arrival */
    struct version *at[SLICE_VERSIONS];     /* theta_t at t % SLICE_VERSIONS, NULL where it is not held */
    uint64_t oldest;                        /* first t that is held */
    struct version *versions;               /* all that were ever allocated */
    struct past past;                       /* on arrival, where late gradients are compensated */
    struct version *shared;                 /* [planes->count] those in the planes, NULL where there are none */
    float *state[UPDATE_STATE_MAX];
    uint64_t blocks[SLICE_SEGMENTS_MAX]; /* layout_tensor_block of each segment */
    uint64_t block_count;
    float *mean;                     /* gradient of a step, where the rule needs it twice; else NULL */
    float *scratch;                  /* runs of the fold */
    float *prepared;                 /* [SLICE_FOLD] a gradient as the rule takes it */
    float *rates;                    /* step sizes of a block, where they are needed */
    double *reports[SLICE_VERSIONS]; /* sums of step t at t % SLICE_VERSIONS, NULL where there are none */
    uint32_t *replaced;              /* [K], for steps_offer */
    uint64_t arrivals, arrived_ns;   /* nodes of the open step that were kept, and the sum of the times when */
    uint64_t total_steps;
    uint64_t infinite_from; /* 1 + the first step after whose commit theta or its state was not finite; 0: none */
    struct blame blame;     /* who brought that */
};

/* Starts at step 0 with the job's initial theta. DP_NOMEM with the number of bytes. */
DP_MUST_CHECK dp_err slice_init(struct slice *slice, const struct shard_job *job, struct range range, dp_error *err);
void slice_fini(struct slice *slice);

/* The staleness of a step: 0 where it commits once, as evaluation steps do; else its slots commit on arrival. */
uint32_t slice_staleness(const struct slice *slice, uint64_t step);
/* Opens the steps that may be open now. */
void slice_open(struct slice *slice);
/* A node arrives for a step that commits once. The payload is taken (released if it is not kept). An evaluation step's
 * payload is empty. */
enum steps_verdict slice_push(struct slice *slice, uint64_t step, uint32_t node, struct blob *gradient,
                              const struct metrics *metrics);
/* Samples of the open step, which is complete: those of the plan, or where slots may be missing those that
 * came, at least 1. */
uint64_t slice_samples(const struct slice *slice, const struct plan_step *at);
/* Whether the open step's tree is complete and there is room for another version. */
bool slice_ready(const struct slice *slice);
/* Commits step `next`, which must be ready (on arrival: its last slot has been): writes the next version, opens the
 * next step, and gives the step's metrics. DP_NOMEM leaves everything as it was. */
DP_MUST_CHECK dp_err slice_commit(struct slice *slice, struct metrics *ret_metrics, dp_error *err);
/* The open step's gradient sum of elements [at, at + n), n <= SLICE_FOLD: borrowed until the next call. */
const float *slice_fold(const struct slice *slice, uint64_t at, size_t n);
/* For global rules, which write theta_{t+1} in several passes: a version that nobody sees yet, with its number, and its
 * publication as what follows the open step, as by slice_commit. */
struct version *slice_version_new(struct slice *slice, uint64_t number);
void slice_publish(struct slice *slice, struct version *version, struct metrics *ret_metrics);
/* Sums of the report of a completed step, block_count * shard_job_report_values of them, heap, the caller's; NULL if
 * there are none. */
double *slice_report_take(struct slice *slice, uint64_t step);
/* Whether a pull for step t can be answered; of the job's end, when all is complete. */
bool slice_pull_ready(const struct slice *slice, uint64_t step);
/* theta of step t, or NULL if it is not held (too old, or not there yet); on arrival: as it is now. Borrowed: retain it
 * to keep it. */
struct version *slice_theta(const struct slice *slice, uint64_t step);
/* All shards have completed the steps before `low`: versions of steps before it are let go. */
void slice_release_before(struct slice *slice, uint64_t low);
/* Most versions that may be held at once; 2..SLICE_VERSIONS. Small slices may run further ahead of the head's
 * announcements. */
uint64_t slice_versions_max(const struct slice *slice);

#endif
