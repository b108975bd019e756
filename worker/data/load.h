/* Files read whole. Thread: any. */
#ifndef DP_WORKER_DATA_LOAD_H
#define DP_WORKER_DATA_LOAD_H

#include <stddef.h>

#include "common/base/dp_err.h"

/* Loads a plain or gzip file whole. DP_IO, DP_NOMEM, DP_STOPPED, or DP_DATA for a damaged or truncated gzip file. */
DP_MUST_CHECK dp_err data_load(const char *path, const volatile int *stop, char **ret_bytes, size_t *ret_size,
                               dp_error *err);

#endif
