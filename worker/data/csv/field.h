/* Rows and their fields (RFC 4180). Thread: any. */
#ifndef DP_WORKER_DATA_CSV_FIELD_H
#define DP_WORKER_DATA_CSV_FIELD_H

#include "worker/data/csv/state.h"

/* Goes to the next row that is not blank; false at the end. */
bool csv_row_begin(struct csv *csv);
/* Reads the next field of the row and its delimiter or newline. DP_DATA. */
DP_MUST_CHECK dp_err csv_field_read(struct csv *csv, struct field *field);

/* Whether the character separates nothing: a blank, or a tab that is no delimiter. */
bool csv_is_blank(const struct csv *csv, char c);

#endif
