/* The label of a file without a header. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_GUESS_H
#define DP_WORKER_DATA_CSV_GUESS_H

#include "worker/data/csv/state.h"

/* Whether the file has no header, but one column that can only be the label, for classification. */
bool csv_label_stands_out(const struct csv *csv, uint64_t *ret_column);

#endif
