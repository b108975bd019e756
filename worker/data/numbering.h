/* Whether a feature numbers the rows, as the index column does that pandas writes: 0, 1, 2, ... or 1, 2, 3, ....
 * Thread: one. */
#ifndef DP_WORKER_DATA_NUMBERING_H
#define DP_WORKER_DATA_NUMBERING_H

#include "worker/data/data.h"

/* A zeroed one has seen no row. */
struct numbering {
    uint64_t rows;
    bool not_from_0, not_from_1;
};

/* The next rows of the set. */
void numbering_add(struct numbering *numbering, const struct data *data);
/* Adds a note where the first column of a CSV file, a feature, numbers its rows; `data` has its schema. DP_NOMEM. */
DP_MUST_CHECK dp_err numbering_note(const struct numbering *numbering, struct data *data, dp_error *err);

#endif
