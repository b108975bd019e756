/* All rows of a part, for exports: a copy, since rows are not versioned as theta is. Thread: shard; the copy is the
 * caller's. */
#ifndef DP_SERVER_TABLE_COPY_H
#define DP_SERVER_TABLE_COPY_H

#include "server/table/state.h"

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

#endif
