/* A part of a table on a shard: a run of its ids, with a step window of its own, as a slice is of theta. But a
 * commit costs the rows that it touches, and old versions are kept as undo logs.
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

#include "server/table/state.h"

/* Starts at the job's first step, with the rows that were touched before it. DP_NOMEM; what their source says. */
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
/* All shards have completed the steps before `low`: what only theta before it needs is let go. */
void part_release_before(struct part *part, uint64_t low);

/* Sums of the report of a completed step, part_blocks * shard_job_report_values of them, heap, the caller's; NULL:
 * the step has no report. */
double *part_report_take(struct part *part, uint64_t step);

#endif
