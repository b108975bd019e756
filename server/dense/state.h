/* The state of a slice: types only, for the files of this room; see slice.h for the invariants. Thread: shard. */
#ifndef DP_SERVER_DENSE_STATE_H
#define DP_SERVER_DENSE_STATE_H

#include "server/dense/kept_versions.h"
#include "server/dense/version.h"
#include "server/step/job.h"
#include "server/step/steps.h"

enum { SLICE_SEGMENTS_MAX = TENSOR_COUNT_MAX, SLICE_FOLD = 1024 };

/* A node that is present: its gradient sum (empty for evaluation steps) and metrics. */
struct node {
    struct blob gradient;
    struct metrics metrics;
    uint32_t from; /* 1 + number of the session that brought it; 0: unknown, or several sessions did */
};

/* The origin of the first number that is not finite. */
struct blame {
    uint32_t node; /* heap number of the first gradient that is not finite; 0: none, or unknown */
    uint32_t from; /* as in struct node */
    bool state;    /* theta is finite still, the optimizer's state is not: it overflowed */
};

struct keep_cell;
struct slice_kept;

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
    struct version *at[SLICE_VERSIONS];     /* theta_t at t % SLICE_VERSIONS, NULL if it is not held */
    uint64_t oldest;                        /* first t that is held */
    struct versions versions;
    struct past past;                    /* on arrival, if late gradients are compensated */
    float *state[UPDATE_STATE_MAX];      /* [range.count] the optimizer's; commit_step alone changes it */
    struct slice_kept *kept;             /* as the slice was at a cut (keep.h); NULL: nothing is kept */
    struct keep_cell *cells;             /* for copies, of the job's room; NULL until one was made */
    uint64_t blocks[SLICE_SEGMENTS_MAX]; /* layout_tensor_block of each segment */
    uint64_t block_count;
    float *mean;                     /* gradient of a step, for rules that need it twice; else NULL */
    float *scratch;                  /* runs of the fold */
    float *prepared;                 /* [SLICE_FOLD] a gradient as the rule takes it */
    float *rates;                    /* step sizes of a block, for rules that scale them; else NULL */
    double *reports[SLICE_VERSIONS]; /* sums of step t at t % SLICE_VERSIONS, NULL for steps without a report */
    uint32_t *replaced;              /* [K], for steps_offer */
    uint64_t arrivals, arrived_ns;   /* nodes of the open step that were kept, and the sum of the times when */
    uint64_t total_steps;
    uint64_t infinite_from; /* 1 + the first step after whose commit theta or its state was not finite; 0: none */
    struct blame blame;     /* the origin of that */
};

#endif
