/* Rows of sparse data over the columns that they touch: what a slot of a table's model is computed from. Column i of
 * the rows is columns[i] of the data; entries keep their order, so that sums over them keep their bits. Thread: one at
 * a time fills; what is filled is read by any. */
#ifndef DP_WORKER_RUN_LOCAL_ROWS_H
#define DP_WORKER_RUN_LOCAL_ROWS_H

#include "worker/data/data.h"

/* A zeroed one is empty. Memory is kept for the next filling. */
struct local_rows {
    uint64_t *columns; /* [data.features], of the data they come from, ascending */
    struct data data;  /* the rows in the order in which they were named; labels and name are NULL */
    float *targets;    /* [data.rows] */
    uint64_t rows_max, entries_max;
    uint64_t *keys, *spare; /* [entries_max], while sorting */
};

/* Takes rows[count] of sparse data and of its targets. Time goes with the entries, not with the columns of the data.
 * DP_NOMEM; DP_DATA for 2^32 entries or more. */
DP_MUST_CHECK dp_err local_rows_fill(struct local_rows *local, const struct data *data, const float *targets,
                                     const uint64_t *rows, uint64_t count, dp_error *err);
void local_rows_fini(struct local_rows *local);

#endif
