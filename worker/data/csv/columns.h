/* Columns of a file: which is the label, which are features. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_COLUMNS_H
#define DP_WORKER_DATA_CSV_COLUMNS_H

#include "worker/data/csv/state.h"

/* Settles what each column is: label, to, and the data's features, schema and note. csv_columns_fini frees what of it
 * is the csv's. */
DP_MUST_CHECK dp_err csv_columns_settle(struct csv *csv);
void csv_columns_fini(struct csv *csv);

/* Takes over what another part of the file found. */
void csv_layout_take(struct csv *csv, const struct csv_layout *layout);

#endif
