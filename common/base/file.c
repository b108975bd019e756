/* Files that are replaced as a whole. Thread: any. */
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/entropy.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

ssize_t file_read_some(int fd, void *to, size_t bytes)
{
    ssize_t n;
    do
        n = read(fd, to, bytes);
    while (n < 0 && errno == EINTR);
    return n;
}

dp_err file_load(int fd, const char *path, size_t most, char **ret_text, size_t *ret_bytes, dp_error *err)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return dp_fail(err, DP_IO, "%.400s: cannot be read: it is no file", path);
    const uint64_t bytes = (uint64_t)st.st_size;
    if (bytes > most)
        return dp_fail(err, DP_DATA, "%.400s: is damaged: it has %" PRIu64 " bytes", path, bytes);
    char *text = mem_array((size_t)bytes, 1);
    if (!text)
        return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", path);
    for (size_t done = 0; done < bytes;) {
        ssize_t n = file_read_some(fd, text + done, (size_t)bytes - done);
        if (n <= 0) {
            free(text);
            return dp_fail(err, DP_IO, "%.400s: cannot be read: %s", path,
                           n < 0 ? strerror(errno) : "it became shorter");
        }
        done += (size_t)n;
    }
    *ret_text = text;
    *ret_bytes = (size_t)bytes;
    return DP_OK;
}

dp_err file_write_all(int fd, const void *data, size_t bytes, dp_error *err)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = write(fd, at, MIN(bytes, (size_t)1 << 30));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dp_fail(err, DP_IO, "write failed: %s", n < 0 ? strerror(errno) : "nothing was written");
        at += n;
        bytes -= (size_t)n;
    }
    return DP_OK;
}

/* A rename over a device or a pipe would put a file in its place for everybody. */
static dp_err replace_allowed(const char *path, dp_error *err)
{
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (!path[0] || path[strlen(path) - 1] == '/' || (there && S_ISDIR(st.st_mode)))
        return dp_fail(err, DP_IO, "%.400s: names a folder, give a file name", path[0] ? path : "''");
    if (there && !S_ISREG(st.st_mode))
        return dp_fail(err, DP_IO, "%.400s: is a device or a pipe, give a file name", path);
    return DP_OK;
}

struct replacement {
    char path[PATH_MAX]; /* without links, so that it is their file that is replaced */
    char tmp[PATH_MAX];  /* the temporary file beside it */
    bool unnamed;        /* the file has that name only once it is whole */
    int fd;
};

/* A file without a name, which vanishes with the process, however that ends; -1 where the file system has none. To give
 * it a name takes /proc. */
static int open_unnamed(const char *path, mode_t mode)
{
    char copy[PATH_MAX];
    if (access("/proc/self/fd", X_OK) || !str_copy(copy, sizeof copy, path))
        return -1;
    return open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
}

static int give_name(const struct replacement *r)
{
    char fd[32];
    snprintf(fd, sizeof fd, "/proc/self/fd/%d", r->fd);
    return linkat(AT_FDCWD, fd, AT_FDCWD, r->tmp, AT_SYMLINK_FOLLOW);
}

int file_hold(const char *path)
{
    char real[PATH_MAX];
    return open_unnamed(realpath(path, real) ? real : path, 0666);
}

uint64_t file_room_bytes(const char *path)
{
    char real[PATH_MAX], copy[PATH_MAX];
    struct statvfs st;
    if (!str_copy(copy, sizeof copy, realpath(path, real) ? real : path) || statvfs(dirname(copy), &st))
        return UINT64_MAX;
    uint64_t blocks = geteuid() == 0 ? st.f_bfree : st.f_bavail, bytes;
    return __builtin_mul_overflow(blocks, (uint64_t)st.f_frsize, &bytes) ? UINT64_MAX : bytes;
}

/* The temporary file has the mode of the one that it is to replace; else what umask leaves. */
static dp_err replace_open(const char *path, bool unnamed, int held, struct replacement *r, dp_error *err)
{
    struct stat st;
    dp_err e = replace_allowed(path, err);
    if (e)
        return e;
    bool there = stat(path, &st) == 0;
    if ((!realpath(path, r->path) && !str_copy(r->path, sizeof r->path, path)) ||
        snprintf(r->tmp, sizeof r->tmp, "%s.%08" PRIx32, r->path, (uint32_t)entropy_u64()) >= (int)sizeof r->tmp)
        return dp_fail(err, DP_IO, "the path is too long: %.80s...", path);
    const mode_t mode = there ? st.st_mode & 0777 : 0666;
    r->fd = held >= 0 ? held : unnamed ? open_unnamed(r->path, mode) : -1;
    r->unnamed = r->fd >= 0;
    if (r->fd < 0)
        r->fd = open(r->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (r->fd < 0)
        return dp_fail(err, DP_IO, "%.400s: cannot create a file in its folder: %s", path, strerror(errno));
    if (there)
        (void)fchmod(r->fd, st.st_mode & 0777); /* bits that umask took; a file system without modes has none to keep */
    return DP_OK;
}

/* A rename is durable once its folder is. */
static void folder_sync(const char *path)
{
    char copy[PATH_MAX];
    if (!str_copy(copy, sizeof copy, path))
        return;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

bool file_same(const char *a, const char *b)
{
    struct stat st_a, st_b;
    if (stat(a, &st_a) || stat(b, &st_b))
        return strcmp(a, b) == 0;
    return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

dp_err file_replace_check(const char *path, dp_error *err)
{
    struct replacement r;
    dp_err e = replace_open(path, false, -1, &r, err); /* with the name: that may be too long */
    if (e)
        return e;
    close(r.fd);
    unlink(r.tmp);
    return DP_OK;
}

dp_err file_replace_held(int *held, const char *path, dp_err (*write_fn)(void *arg, int fd, dp_error *err), void *arg,
                         dp_error *err)
{
    struct replacement r;
    dp_err e = replace_open(path, true, *held, &r, err);
    if (e)
        return e;
    e = write_fn(arg, r.fd, err);
    if (e)
        e = dp_fail(err, e, "%s: %.500s", path, err ? err->text : "");
    if (!e && fsync(r.fd))
        e = dp_fail(err, DP_IO, "%s: %s", path, strerror(errno));
    if (e && *held >= 0 && ftruncate(r.fd, 0) == 0 && lseek(r.fd, 0, SEEK_SET) == 0)
        return e;
    *held = -1;
    bool named = !r.unnamed || (!e && give_name(&r) == 0);
    if (!e && !named)
        e = dp_fail(err, DP_IO, "%s: cannot give the finished file a name: %s", path, strerror(errno));
    if (close(r.fd) && !e)
        e = dp_fail(err, DP_IO, "%s: %s", path, strerror(errno));
    if (!e && rename(r.tmp, r.path))
        e = dp_fail(err, DP_IO, "%s: cannot rename the finished file into place: %s", path, strerror(errno));
    if (e && named)
        unlink(r.tmp);
    else if (!e)
        folder_sync(r.path);
    return e;
}

dp_err file_replace(const char *path, dp_err (*write_fn)(void *arg, int fd, dp_error *err), void *arg, dp_error *err)
{
    int none = -1;
    return file_replace_held(&none, path, write_fn, arg, err);
}
