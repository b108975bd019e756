/* A library that is loaded before libc (LD_PRELOAD): counts what a program asks of the disk under one folder, writes it
 * down, and lets a call fail, be short, or be the program's last. disk_log.h has its environment and what it writes.
 *
 * Invariant: a counted call and its record are done under one lock, so that the order of records is that of the disk.
 * Thread: any. */
#undef _FORTIFY_SOURCE
#undef _FILE_OFFSET_BITS /* both names of a call are defined here */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/disk_log.h"

#define SHOWN __attribute__((visibility("default")))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_bytes;
static unsigned long at, counted;
static enum disk_fault fault;
static int log_fd = -1;
static unsigned long slow_ms;

/* ---- beginning ---- */

__attribute__((constructor)) static void begin(void)
{
    static const char *const NAMES[] = {DISK_FAULTS};
    const char *env = getenv(DISK_ENV_FOLDER), *number = getenv(DISK_ENV_AT), *name = getenv(DISK_ENV_DO),
               *slow = getenv(DISK_ENV_SLOW);
    if (!env || strlen(env) >= sizeof folder)
        return;
    folder_bytes = strlen(env);
    memcpy(folder, env, folder_bytes + 1);
    at = number ? strtoul(number, NULL, 10) : 0;
    slow_ms = slow ? strtoul(slow, NULL, 10) : 0;
    for (int i = 0; name && i < DISK_FAULT_COUNT; i++)
        if (strcmp(NAMES[i], name) == 0)
            fault = (enum disk_fault)i;
}

static void open_log(void)
{
    const char *path = getenv(DISK_ENV_LOG);
    if (log_fd < 0 && path)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* ---- paths ---- */

/* The path under the folder, "" for itself; NULL: it is elsewhere. */
static const char *inside(const char *path)
{
    if (folder_bytes == 0 || strncmp(path, folder, folder_bytes) != 0)
        return NULL;
    if (path[folder_bytes] == '\0')
        return path + folder_bytes;
    return path[folder_bytes] == '/' ? path + folder_bytes + strspn(path + folder_bytes, "/") : NULL;
}

/* As it is called at present. */
static const char *inside_fd(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = folder_bytes ? readlink(link, path, PATH_MAX - 1) : -1;
    path[n > 0 ? n : 0] = '\0';
    return inside(path);
}

static const char *inside_at(int dir, const char *name, char path[PATH_MAX])
{
    if (name[0] == '/' || dir == AT_FDCWD)
        return inside(name);
    if (!inside_fd(dir, path))
        return NULL;
    size_t length = strlen(path);
    if (length + 1 + strlen(name) >= PATH_MAX)
        return NULL;
    path[length] = '/';
    strcpy(path + length + 1, name);
    return inside(path);
}

/* ---- a call ---- */

struct call {
    enum disk_call kind;
    const char *path, *other; /* other: NULL where it has none */
    const void *data;
    size_t bytes; /* of data */
    off_t offset;
    bool truncates;
};

static void write_down(const struct call *call, unsigned done_fault, int failed, size_t bytes)
{
    const struct disk_record record = {
        .call = call->kind,
        .fault = done_fault,
        .failed = failed,
        .path_bytes = (uint32_t)strlen(call->path),
        .other_bytes = call->other ? (uint32_t)strlen(call->other) : 0,
        .truncates = call->truncates,
        .offset = (uint64_t)call->offset,
        .data_bytes = failed ? 0 : bytes,
    };
    const struct iovec parts[] = {
        {(void *)&record, sizeof record},
        {(void *)call->path, record.path_bytes},
        {(void *)(call->other ? call->other : ""), record.other_bytes},
        {(void *)(call->data ? call->data : ""), record.data_bytes},
    };
    open_log();
    if (log_fd >= 0)
        (void)syscall(SYS_writev, log_fd, parts, sizeof parts / sizeof parts[0]);
}

static bool needs_room(enum disk_call kind)
{
    return kind == DISK_WRITE || kind == DISK_CREATE || kind == DISK_MKDIR || kind == DISK_SYNC;
}

__attribute__((noreturn)) static void end_process(void)
{
    raise(SIGKILL);
    abort();
}

static void be_slow(void)
{
    struct timespec left = {(time_t)(slow_ms / 1000), (long)(slow_ms % 1000 * 1000000)};
    while (slow_ms && nanosleep(&left, &left) && errno == EINTR)
        continue;
}

/* Takes the lock, counts, and says what the call must fail with: 0: it is to be done, *bytes of a write. */
static int call_begin(const struct call *call, size_t *bytes, unsigned *ret_fault)
{
    be_slow();
    pthread_mutex_lock(&lock);
    counted++;
    *ret_fault = 0;
    bool full = at && fault == DISK_FULL && counted >= at && needs_room(call->kind);
    if (counted != at && !full)
        return 0;
    *ret_fault = 1 + fault;
    switch (fault) {
    case DISK_KILL:
        write_down(call, *ret_fault, EINTR, 0);
        end_process();
    case DISK_HANG: /* with the lock */
        write_down(call, *ret_fault, EINTR, 0);
        for (;;)
            pause();
    case DISK_EIO:
        return EIO;
    case DISK_FULL:
        return full ? ENOSPC : (*ret_fault = 0, 0);
    case DISK_ENOSPC:
        return ENOSPC;
    case DISK_TEAR:
    case DISK_SHORT:
    case DISK_FAULT_COUNT:
        break;
    }
    if (call->kind == DISK_WRITE)
        *bytes /= 2;
    return 0;
}

/* Writes it down, lets go of the lock, and returns what the call does. */
static long call_end(const struct call *call, unsigned done_fault, long result, int failed)
{
    write_down(call, done_fault, result < 0 ? failed : 0, result > 0 && call->kind == DISK_WRITE ? (size_t)result : 0);
    if (done_fault == 1 + DISK_TEAR)
        end_process();
    pthread_mutex_unlock(&lock);
    if (result < 0)
        errno = failed;
    return result;
}

/* Does a call that has no data; six arguments of the kernel's. */
static long pass(const struct call *call, long number, long a, long b, long c, long d, long e)
{
    unsigned done_fault;
    size_t none = 0;
    int failed = call_begin(call, &none, &done_fault);
    long result = failed ? -1 : syscall(number, a, b, c, d, e);
    return call_end(call, done_fault, result, failed ? failed : errno);
}

/* ---- functions of libc ---- */

static ssize_t do_write(int fd, const void *data, size_t bytes, off_t offset, bool positioned)
{
    char path[PATH_MAX];
    struct call call = {.kind = DISK_WRITE, .path = inside_fd(fd, path), .data = data, .bytes = bytes};
    unsigned done_fault = 0;
    if (!call.path)
        return positioned ? syscall(SYS_pwrite64, fd, data, bytes, offset) : syscall(SYS_write, fd, data, bytes);
    int failed = call_begin(&call, &bytes, &done_fault);
    call.offset = positioned ? offset : lseek(fd, 0, SEEK_CUR);
    long result = -1;
    if (!failed)
        result = positioned ? syscall(SYS_pwrite64, fd, data, bytes, offset) : syscall(SYS_write, fd, data, bytes);
    return call_end(&call, done_fault, result, failed ? failed : errno);
}

SHOWN ssize_t write(int fd, const void *data, size_t bytes)
{
    return do_write(fd, data, bytes, 0, false);
}

SHOWN ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    return do_write(fd, data, bytes, offset, true);
}

SHOWN ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
    return do_write(fd, data, bytes, offset, true);
}

static int do_sync(int fd, long number)
{
    char path[PATH_MAX];
    const struct call call = {.kind = DISK_SYNC, .path = inside_fd(fd, path)};
    return (int)(call.path ? pass(&call, number, fd, 0, 0, 0, 0) : syscall(number, fd));
}

SHOWN int fsync(int fd)
{
    return do_sync(fd, SYS_fsync);
}

SHOWN int fdatasync(int fd)
{
    return do_sync(fd, SYS_fdatasync);
}

static int do_rename(int dir, const char *name, int other_dir, const char *other, unsigned flags)
{
    char path[PATH_MAX], other_path[PATH_MAX];
    const struct call call = {.kind = flags & RENAME_EXCHANGE ? DISK_EXCHANGE : DISK_RENAME,
                              .path = inside_at(dir, name, path),
                              .other = inside_at(other_dir, other, other_path)};
    if (!call.path || !call.other)
        return (int)syscall(SYS_renameat2, dir, name, other_dir, other, flags);
    return (int)pass(&call, SYS_renameat2, dir, (long)name, other_dir, (long)other, (long)flags);
}

SHOWN int rename(const char *name, const char *other)
{
    return do_rename(AT_FDCWD, name, AT_FDCWD, other, 0);
}

SHOWN int renameat(int dir, const char *name, int other_dir, const char *other)
{
    return do_rename(dir, name, other_dir, other, 0);
}

SHOWN int renameat2(int dir, const char *name, int other_dir, const char *other, unsigned flags)
{
    return do_rename(dir, name, other_dir, other, flags);
}

SHOWN int unlinkat(int dir, const char *name, int flags)
{
    char path[PATH_MAX];
    const struct call call = {.kind = DISK_UNLINK, .path = inside_at(dir, name, path)};
    return (int)(call.path ? pass(&call, SYS_unlinkat, dir, (long)name, flags, 0, 0)
                           : syscall(SYS_unlinkat, dir, name, flags));
}

SHOWN int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

SHOWN int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

SHOWN int mkdirat(int dir, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    const struct call call = {.kind = DISK_MKDIR, .path = inside_at(dir, name, path)};
    return (int)(call.path ? pass(&call, SYS_mkdirat, dir, (long)name, (long)mode, 0, 0)
                           : syscall(SYS_mkdirat, dir, name, mode));
}

SHOWN int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

static int do_open(int dir, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    const struct call call = {.kind = DISK_CREATE,
                              .path = flags & (O_CREAT | O_TRUNC) ? inside_at(dir, name, path) : NULL,
                              .truncates = (flags & O_TRUNC) != 0};
    return (int)(call.path ? pass(&call, SYS_openat, dir, (long)name, flags, (long)mode, 0)
                           : syscall(SYS_openat, dir, name, flags, mode));
}

/* The mode is there only with some flags. */
#define MODE_OF(flags, mode)                                     \
    do {                                                         \
        va_list args_;                                           \
        va_start(args_, flags);                                  \
        if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) \
            (mode) = va_arg(args_, mode_t);                      \
        va_end(args_);                                           \
    } while (0)

SHOWN int openat(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return do_open(dir, name, flags, mode);
}

SHOWN int open(const char *name, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return do_open(AT_FDCWD, name, flags, mode);
}

SHOWN int openat64(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return do_open(dir, name, flags, mode);
}

SHOWN int open64(const char *name, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return do_open(AT_FDCWD, name, flags, mode);
}
