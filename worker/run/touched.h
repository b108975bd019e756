/* Rows of a table that the slots of a step touch, for a model whose weights are one (--sparse): the data's columns.
 * Rows that were found for the client are kept until the slots are computed. Thread: main; what touched_find returns is
 * read by any. */
#ifndef DP_WORKER_RUN_TOUCHED_H
#define DP_WORKER_RUN_TOUCHED_H

#include <stdbool.h>

#include "common/tensor/plan.h"
#include "worker/dp.h"
#include "worker/run/local_rows.h"

struct touched;

/* A set of rows; borrowed. data: NULL if the job has no such set. */
struct labelled {
    const struct data *data;
    const float *targets; /* of each row */
};

/* The data of the slots; borrowed until touched_free. */
struct touched_source {
    const struct plan *plan;
    struct labelled sets[ROW_SETS]; /* sparse */
};

/* NULL when out of memory. */
struct touched *touched_new(const struct touched_source *source);
/* Accepts NULL. */
void touched_free(struct touched **touched);
/* dp_model.rows of one table: the columns that the slots touch. DP_NOMEM, DP_DATA. */
DP_MUST_CHECK dp_err touched_rows(struct touched *touched, const dp_ask *ask, dp_rows *ret_rows, dp_error *err);

/* A slot's rows among those that were found with it. */
struct touched_slot {
    const struct local_rows *local;
    uint64_t first, count;
};
/* The slot as it was found for the question `tag`, which must have had it. */
struct touched_slot touched_find(const struct touched *touched, uint64_t tag, uint32_t slot);
/* Forgets what is not of this step or the next: the worker is at `step`. */
void touched_forget(struct touched *touched, uint64_t step);

#endif
