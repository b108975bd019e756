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

#include "server/dense/state.h"

/* Starts at the job's first step with its first values. DP_NOMEM with the number of bytes; what their source says. */
DP_MUST_CHECK dp_err slice_init(struct slice *slice, const struct shard_job *job, struct range range, dp_error *err);
void slice_fini(struct slice *slice);

/* shard_job_staleness of a step; 0 behind the last one. */
uint32_t slice_staleness(const struct slice *slice, uint64_t step);
/* Opens the steps that may be open now. */
void slice_open(struct slice *slice);
/* Opens the open step anew: it waits for the slots of live[K] alone. Nodes of other slots that had arrived are
 * dropped. There are no inner nodes: workers push their one slot, and nothing is folded before the commit. */
void slice_revise(struct slice *slice, const uint8_t *live);
/* A node arrives for a step that commits once. The payload is taken (released if it is not kept). An evaluation step's
 * payload is empty. */
enum steps_verdict slice_push(struct slice *slice, uint64_t step, uint32_t node, struct blob *gradient,
                              const struct metrics *metrics);
/* Samples of the open step, which is complete: those of the plan, or where slots may be missing those that
 * came, at least 1. */
uint64_t slice_samples(const struct slice *slice, const struct plan_step *at);
/* Whether the open step's tree is complete and there is room for another version. */
bool slice_ready(const struct slice *slice);
/* Commits step `next`, which is ready and no step on arrival (on_arrival.h): writes the next version, opens the
 * next step, and gives the step's metrics. DP_NOMEM leaves everything as it was. */
DP_MUST_CHECK dp_err slice_commit(struct slice *slice, struct metrics *ret_metrics, dp_error *err);
/* For rules that write theta_{t+1} in several passes: `version`, which nobody sees yet, follows the open step as after
 * slice_commit. */
void slice_publish(struct slice *slice, struct version *version, struct metrics *ret_metrics);
/* Sums of the report of a completed step, block_count * shard_job_report_values of them, heap, the caller's; NULL: the
 * step has no report. */
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
