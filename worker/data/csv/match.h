/* Columns of a file that is for a schema. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_MATCH_H
#define DP_WORKER_DATA_CSV_MATCH_H

#include "worker/data/csv/state.h"

/* Settles the columns of data that are for source->want; ignored columns are marked already. DP_DATA, DP_NOMEM. */
DP_MUST_CHECK dp_err csv_columns_match(struct csv *csv);

#endif
