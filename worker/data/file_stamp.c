/* Whether a file has changed; see file_stamp.h. Thread: any. */
#include "worker/data/file_stamp.h"

#include <sys/stat.h>

struct file_stamp file_stamp_take(int fd)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return (struct file_stamp){0};
    return (struct file_stamp){.known = true, .bytes = st.st_size, .changed = st.st_mtim};
}

dp_err file_stamp_fail(const char *name, dp_error *err)
{
    return dp_fail(err, DP_DATA,
                   "%s: has changed while it was being read; start again once nothing writes to it, or give the job a "
                   "copy of its own",
                   name);
}

dp_err file_stamp_check(const struct file_stamp *stamp, int fd, const char *name, dp_error *err)
{
    struct file_stamp now = file_stamp_take(fd);
    bool same = now.known == stamp->known && now.bytes == stamp->bytes && now.changed.tv_sec == stamp->changed.tv_sec &&
                now.changed.tv_nsec == stamp->changed.tv_nsec;
    return same ? DP_OK : file_stamp_fail(name, err);
}
