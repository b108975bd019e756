/* The tree of a slice's open step: nodes that came, their sums in the tree's order, and the budget of payloads.
 * Thread: shard. */
#ifndef DP_SERVER_DENSE_TREE_H
#define DP_SERVER_DENSE_TREE_H

#include "server/dense/state.h"

/* Memory for the tree of `window`, which is there. DP_NOMEM leaves what tree_fini frees. */
DP_MUST_CHECK dp_err tree_init(struct slice *slice);
void tree_fini(struct slice *slice);
/* A node that was offered and kept takes the place of the `replaced` nodes of slice->replaced. Takes the payload. */
void tree_put(struct slice *slice, uint64_t step, uint32_t node, struct blob *gradient, const struct metrics *metrics,
              uint32_t replaced);
/* The open step's gradient sum of elements [at, at + n), n <= SLICE_FOLD: borrowed until the next call. */
const float *tree_sum(const struct slice *slice, uint64_t at, size_t n);
/* The open step's metrics. */
struct metrics tree_metrics(const struct slice *slice);
/* Lets go of all payloads of the step that was just committed. */
void tree_clear(struct slice *slice);

#endif
