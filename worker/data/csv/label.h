/* The column of the label. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_LABEL_H
#define DP_WORKER_DATA_CSV_LABEL_H

#include "worker/data/csv/state.h"

/* Finds the label by --label-column, or by the one name that means a label. */
DP_MUST_CHECK dp_err csv_label_find(struct csv *csv);
/* Counts the columns whose name means a label; `at` gets the first two. */
uint64_t csv_labels_named(const struct csv *csv, uint64_t at[2]);

#endif
