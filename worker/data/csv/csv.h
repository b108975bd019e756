/* CSV files. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_CSV_H
#define DP_WORKER_DATA_CSV_CSV_H

#include "worker/data/parse/set.h"

/* Reads a file of the format from memory into *data, which is zeroed but for name; on failure the caller frees what is
 * left in it. DP_DATA as "FILE:LINE: what is wrong; what to do"; DP_NOMEM, DP_STOPPED. */
DP_MUST_CHECK dp_err csv_parse(const struct data_source *source, const void *bytes, size_t size, struct data *data,
                               dp_error *err);

#endif
