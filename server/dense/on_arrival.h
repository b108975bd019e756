/* Commits on arrival on a slice: each slot of a step moves theta as soon as it is there, as the fraction of a step that
 * its samples are (MATH.md), so that the slots of a step move it as far as one commit of them all.
 *
 * theta is slice->at[next]. A reply in flight holds a version, which never changes under it: a commit writes in place
 * while the slice alone holds the version, else beside it. Thread: shard. */
#ifndef DP_SERVER_DENSE_ON_ARRIVAL_H
#define DP_SERVER_DENSE_ON_ARRIVAL_H

#include "server/dense/slice.h"

/* The version that a gradient was computed on. */
struct arrival_read {
    bool known;
    uint64_t between;              /* commits on the slice since; 0 if that is not known */
    const struct version *version; /* NULL if it is not kept, or nothing was committed since */
};
/* `read` is 1 + the version's number, 0 for unknown. The version is borrowed until the next call on the slice. */
struct arrival_read arrival_read(const struct slice *slice, uint64_t read);

/* A slot (a leaf of the tree) arrives for a step whose staleness is more than 0. The payload is taken. If it is kept,
 * it has been committed, compensated for its delay where the job says so and its version is kept. DP_NOMEM leaves
 * everything as it was, and the payload with the caller. */
DP_MUST_CHECK dp_err arrival_push(struct slice *slice, uint64_t step, uint32_t leaf, const struct arrival_read *read,
                                  struct blob *gradient, const struct metrics *metrics, enum steps_verdict *ret_verdict,
                                  dp_error *err);
/* Step `next`, all slots of which have been committed, is done with: its metrics. DP_NOMEM leaves everything as it was.
 */
DP_MUST_CHECK dp_err arrival_pass(struct slice *slice, struct metrics *ret_metrics, dp_error *err);

#endif
