/* Refuses gradients that are not finite. Thread: any. */
#ifndef DP_WORKER_CLIENT_STATE_FINITE_H
#define DP_WORKER_CLIENT_STATE_FINITE_H

#include "worker/client/state/values.h"

/* A gradient's place in the job, for the message. */
struct gradient_place {
    const dp_job *job;
    uint64_t elems; /* of the dense tensors */
    uint64_t step;
    uint32_t slot;
};

/* DP_DATA, naming the element, if a gradient of at most 2^20 values has one that is not finite while its loss is;
 * `list`: the rows behind the dense tensors, or NULL. */
DP_MUST_CHECK dp_err gradient_check(const struct gradient_place *place, const struct node_value *value,
                                    const struct row_list *list, dp_error *err);

#endif
