/* Values of nodes: a gradient with the rows behind it, and the sums over its samples; folded in the tree's order.
 * Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_VALUES_H
#define DP_WORKER_CLIENT_STATE_VALUES_H

#include "worker/client/state/fold.h"
#include "worker/client/state/rows.h"
#include "worker/client/state/slab.h"
#include "worker/dp.h"

/* A value of a node: held, or sent and kept until the step is complete. It owns one reference of each pointer. */
struct node_value {
    struct slab *slab;     /* NULL at evaluation steps, and if nothing is held */
    struct row_list *list; /* rows of the slab behind the dense tensors; NULL without tables */
    dp_metrics metrics;
};

struct sent_node {
    struct fold_node node;
    struct node_value value;
};

/* Parts of the client that folding needs; borrowed. */
struct values_room {
    struct slab_pool *slabs;
    const struct row_layout *layout;
    uint64_t elems; /* of the dense tensors */
};

/* Gives up what the value owns, and zeroes it. */
void value_drop(struct node_value *value);
/* Takes up the rows behind the dense tensors, whose zeros become +0: whether a row of one value is added to 0 or stays
 * as it is would tell otherwise. The slab has room for them. */
void value_take_rows(struct node_value *value, uint64_t elems, struct row_list *list);
/* left = left + right; right is dropped. DP_NOMEM, DP_RANGE: both stay the caller's. */
DP_MUST_CHECK dp_err value_fold(const struct values_room *room, struct node_value *left, struct node_value *right,
                                dp_error *err);

#endif
