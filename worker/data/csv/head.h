/* The first row of a CSV file: the delimiter, the number of fields, and whether it is a header. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_HEAD_H
#define DP_WORKER_DATA_CSV_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/data/parse/set.h"

/* The header of a CSV file. */
struct csv_head {
    size_t header_bytes; /* up to and with the header; 0: there is none */
    uint64_t header_lines;
};
/* Whether the bytes have the first two rows, which say whether there is one, to their ends. */
bool csv_head_whole(const char *bytes, size_t size);
/* Looks at bytes that have these rows, or are the file. DP_DATA. */
DP_MUST_CHECK dp_err csv_head_read(const struct data_source *source, const char *bytes, size_t size,
                                   struct csv_head *ret_head, dp_error *err);

struct csv;
/* Settles delimiter, fields and header; a first row that is no header is left to be read again. DP_DATA where it
 * cannot be told whether it is one. */
DP_MUST_CHECK dp_err csv_first_row_read(struct csv *csv);

#endif
