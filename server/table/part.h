/* A part of a table on a shard: a run of its ids, with a step window of its own. What a slice is to theta, but for the
 * cost of a commit, which goes by the rows that it touches, and for old versions, which are kept as undo logs.
 *
 * Invariants:
 *   1. theta_t of every row can be read for each t in [global_low, window.next]: what the commits since have changed is
 * in their undo logs, of which there are at most PART_STEPS.
 *   2. theta_{t+1} is a function of theta_t, the optimizer state and the set of slots of t alone: not of the order of
 * arrival, of reads, nor of how ids are cut into parts.
 *   3. Reads make no rows and write none.
 * Knows no network. Thread: shard. */
#ifndef DP_SERVER_TABLE_PART_H
#define DP_SERVER_TABLE_PART_H

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

struct part {
    const struct shard_job *job;
    struct part_range range;
    struct steps window;
    struct part_node *nodes; /* [2 * leaves], by heap number, of the open step */
    struct table table;
    struct rowrule rule;
    struct undo undo[PART_STEPS]; /* of step t at t % PART_STEPS */
    uint64_t undo_bytes;
    double *reports[PART_STEPS]; /* sums of step t at t % PART_STEPS, NULL where there are none */
    uint64_t oldest;             /* first t that can be read */
    uint32_t *replaced;          /* [K], for steps_offer */
    uint64_t total_steps;
    uint64_t infinite_from; /* 1 + the first step after whose commit a row or its state was not finite; 0: none */
};

/* Starts at step 0, with no row touched. DP_NOMEM. */
DP_MUST_CHECK dp_err part_init(struct part *part, const struct shard_job *job, struct part_range range, dp_error *err);
void part_fini(struct part *part);

/* A node arrives, with its rows; they are taken (released if the node is not kept). */
enum steps_verdict part_push(struct part *part, uint64_t step, uint32_t node, struct rowsum *rows,
                             const struct metrics *metrics);
/* Whether the open step's tree is complete and there is room for another undo log. */
bool part_ready(const struct part *part);
/* Commits the open step, which must be ready. DP_NOMEM: the part cannot go on. */
DP_MUST_CHECK dp_err part_commit(struct part *part, struct metrics *ret_metrics, dp_error *err);
/* Whether a pull for the step can be answered; of the job's end, when all is complete. */
bool part_pull_ready(const struct part *part, uint64_t step);
/* Whether theta of the step can be read. */
bool part_holds(const struct part *part, uint64_t step);
/* Training steps that theta of a step has seen: its version. */
uint64_t part_version(const struct part *part, uint64_t step);
/* theta_step of the list's rows, which must be held; out[count * dim]. Looks for rows that are missing in the list.
 * DP_NOMEM. */
DP_MUST_CHECK dp_err part_read(struct part *part, uint64_t step, struct rowlist *list, float *out);
/* All rows of a part at a step, in the order of their ids. */
struct rows_copy {
    uint64_t count;
    uint64_t *ids; /* hashed tables: heap; else NULL */
    float *values; /* [count * dim], heap */
};
/* Every row of a dense-range table, those of a hashed one that were touched before the step (which must be held).
 * DP_NOMEM. */
DP_MUST_CHECK dp_err part_copy(struct part *part, uint64_t step, struct rows_copy *ret_copy);
void rows_copy_fini(struct rows_copy *copy);
/* All shards have completed the steps before `low`: what only theta before it needs is let go. */
void part_release_before(struct part *part, uint64_t low);

/* Blocks of the table that the part has. */
uint64_t part_blocks(const struct part *part);
/* Sums of the report of a completed step, part_blocks * shard_job_report_values of them, heap, the caller's; NULL if
 * there are none. */
double *part_report_take(struct part *part, uint64_t step);

/* ---- for the files of the part ---- */

/* The records of the list's rows as they were at a step, NULL where there were none; to records[count]. */
void part_records(const struct part *part, uint64_t step, const struct rowlist *list, const float **records);
/* All rows of a hashed table that have a record, sorted. NULL when out of memory. */
struct rowlist *part_sorted(const struct part *part);
/* report.c: the sums at the open step, which is about to be committed with this sum of gradients; heap. NULL when
 * out of memory. */
double *part_report(struct part *part, const struct rowsum *sum, uint64_t samples);

#endif
