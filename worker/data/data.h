/* A data set in memory: LIBSVM, CSV or IDX files, plain or gzip. Thread: reading is single-threaded; a read set is
 * immutable. */
#ifndef DP_WORKER_DATA_DATA_H
#define DP_WORKER_DATA_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "worker/data/parse/set.h"

/* Reads a file whole. DP_IO where it cannot be read; DP_DATA as "FILE:LINE: what is wrong; what to do". */
DP_MUST_CHECK dp_err data_read(const struct data_source *source, struct data *ret_data, dp_error *err);
/* The same from memory (already decompressed): what the fuzz targets call. IDX: `labels` holds the label file. */
DP_MUST_CHECK dp_err data_parse(const struct data_source *source, const void *bytes, size_t size, const void *labels,
                                size_t labels_size, struct data *ret_data, dp_error *err);
void data_fini(struct data *data);

/* A hash of rows, features as found, labels and entries (XXH64; fingerprint.h). */
uint64_t data_fingerprint(const struct data *data);

/* For blocks.c: the format of a file that begins with these bytes: the one asked for, else by the content. *ret_sure
 * (may be NULL): it was asked for, or the content has what other formats have not. */
enum data_format data_format(const struct data_source *source, const void *bytes, size_t size, bool *ret_sure);

#endif
