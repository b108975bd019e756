/* IDX files, as MNIST has them. Thread: any. */
#ifndef DP_WORKER_DATA_IDX_H
#define DP_WORKER_DATA_IDX_H

#include "worker/data/parse/set.h"

/* Reads a file of the format from memory into *data, with the labels of another file, which is zeroed but for name; on
 * failure the caller frees what is left in it. DP_DATA as "FILE:LINE: what is wrong; what to do"; DP_NOMEM, DP_STOPPED.
 */
DP_MUST_CHECK dp_err idx_parse(const struct data_source *source, const void *bytes, size_t size, const void *labels,
                               size_t labels_size, struct data *data, dp_error *err);

/* Whether the bytes begin like an IDX file. */
bool idx_detect(const void *bytes, size_t size);
/* The name of the label file that belongs to an IDX file (heap): "images" -> "labels", "idx3" -> "idx1" in the last
 * part of the path. DP_USAGE where the name does not say it. */
DP_MUST_CHECK dp_err idx_labels_path(const char *path, char **ret_path, dp_error *err);

#endif
