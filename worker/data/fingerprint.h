/* The fingerprint of a data set, taken in runs of rows: the same however the rows are cut into runs. Thread: any. */
#ifndef DP_WORKER_DATA_FINGERPRINT_H
#define DP_WORKER_DATA_FINGERPRINT_H

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "worker/data/data.h"

struct fingerprint {
    XXH64_state_t labels, values, row_at, columns;
    uint64_t rows, entries, found; /* found: columns that have an entry, whatever number was asked for */
    bool sparse;
};

void fingerprint_begin(struct fingerprint *fingerprint);
/* The next rows, in the order of the data set. */
void fingerprint_add(struct fingerprint *fingerprint, const struct data *data);
uint64_t fingerprint_end(const struct fingerprint *fingerprint);

#endif
