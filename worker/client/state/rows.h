/* Lists of row ids: which rows of a job's tables a worker moves, where they lie in the parts of the tables, and values
 * of rows beside them. Numbers in, numbers out; no network.
 *
 * The values that belong to a list are floats in one vector: the rows of the first table in the order of their ids,
 * then those of the second, ... Thread: the client's; row_list_drop: any. */
#ifndef DP_WORKER_CLIENT_STATE_ROWS_H
#define DP_WORKER_CLIENT_STATE_ROWS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/tensor.h"
#include "worker/dp.h"

/* A table of the job. */
struct table {
    uint32_t tensor;
    uint32_t dim;      /* floats of a row */
    uint64_t last_row; /* the largest id */
};

/* A run of a table's ids that one shard has. */
struct part {
    uint32_t table;
    uint64_t first, last; /* ids */
};

/* All tables in the order of the tensors, and their parts in the order of the shards. */
struct row_layout {
    uint32_t table_count;
    struct table tables[TENSOR_COUNT_MAX];
    uint32_t part_count;
    struct part *parts;
};

/* The rows of a list that lie in one part. */
struct row_span {
    const uint64_t *ids;
    uint32_t count;
    uint64_t hash;     /* as it goes over the wire */
    uint64_t float_at; /* its first value, among the list's */
    uint64_t floats;
};

struct row_list {
    atomic_uint refs;
    uint32_t table_count;
    dp_rows *tables;        /* [table_count] */
    struct row_span *spans; /* [parts] */
    uint64_t floats;        /* of all rows */
    uint64_t *ids;          /* of all tables */
};

/* A copy of rows[tables] with one reference. DP_USAGE for ids that are not strictly ascending or not in the table,
 * DP_RANGE for more rows of a part than a message has room for, DP_NOMEM. */
DP_MUST_CHECK dp_err row_list_new(const struct row_layout *layout, const dp_rows *rows, struct row_list **ret_list,
                                  dp_error *err);
void row_list_keep(struct row_list *list);
/* The last one frees. Accepts NULL. */
void row_list_drop(struct row_list *list);
/* row_list_drop in the shape of zmq_free_fn: `list` is the hint. */
void row_list_drop_message(void *ids, void *list);
/* The rows of both. DP_RANGE, DP_NOMEM. */
DP_MUST_CHECK dp_err row_list_merge(const struct row_layout *layout, const struct row_list *a, const struct row_list *b,
                                    struct row_list **ret_list, dp_error *err);
/* Values of `from` where `to`, which has all of its rows, has them; its other rows become 0. */
void row_values_spread(const struct row_layout *layout, const struct row_list *from, const float *from_values,
                       const struct row_list *to, float *to_values);

#endif
