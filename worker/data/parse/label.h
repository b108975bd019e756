/* Labels of rows, as all readers take them. Thread: any. */
#ifndef DP_WORKER_DATA_PARSE_LABEL_H
#define DP_WORKER_DATA_PARSE_LABEL_H

#include "worker/data/parse/set.h"

/* Room for the labels of rows_max rows; false when out of memory. */
bool row_labels_room(const struct data_source *source, uint64_t rows_max, struct data *data);
/* The label of row data->rows: the token, which has no blanks around it, of a line from 1, or 0. DP_NOMEM; DP_DATA with
 * the second half of a sentence to *ret_fault. In an unlabelled source the label is 0, whatever the token. */
DP_MUST_CHECK dp_err row_label_take(const struct data_source *source, struct data *data, const char *at, size_t n,
                                    uint64_t line, const char **ret_fault);

#endif
