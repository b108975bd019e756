/* The columns that are features. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_FEATURE_COLUMNS_H
#define DP_WORKER_DATA_CSV_FEATURE_COLUMNS_H

#include "worker/data/csv/state.h"

/* Whether no two columns have one name, but for ignored ones. DP_DATA naming both. */
DP_MUST_CHECK dp_err csv_check_distinct(struct csv *csv);
/* Numbers the features in their order; returns how many there are. */
uint64_t csv_features_number(struct csv *csv);
/* The data's schema is the file's own. DP_NOMEM. */
DP_MUST_CHECK dp_err csv_schema_fill(struct csv *csv);

#endif
