/* The size and the time of a file's last change, to notice that it changes while it is read. Thread: any. */
#ifndef DP_WORKER_DATA_FILE_STAMP_H
#define DP_WORKER_DATA_FILE_STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/base/dp_err.h"

struct file_stamp {
    bool known; /* a regular file; pipes and devices are read once and have no stamp */
    int64_t bytes;
    struct timespec changed; /* st_mtim */
};

struct file_stamp file_stamp_take(int fd);
/* DP_DATA naming the file where its size or time is no longer that of the stamp. A file that was renamed or removed is
 * still the same behind `fd`. */
DP_MUST_CHECK dp_err file_stamp_check(const struct file_stamp *stamp, int fd, const char *name, dp_error *err);
/* The error of a file whose bytes are others than they were. */
dp_err file_stamp_fail(const char *name, dp_error *err);

#endif
