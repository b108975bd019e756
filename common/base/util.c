/* Small things every floor needs. Thread: any. */
#include "common/base/util.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* glibc's upper bound of the threshold, and how much free memory stays. */
enum { MMAP_THRESHOLD_MAX = 32 << 20, KEEP_BYTES = 1 << 30, THREADS_ENSURED_MAX = 8, DESCRIPTORS_RUN = 16 };
enum { THREAD_STACK_BYTES = 8 << 20 /* libuv's threads have so much, which matters under ulimit -v */ };

void *mem_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > (size_t)PTRDIFF_MAX - CACHE_LINE_BYTES)
        return NULL;
    size_t rounded = (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    return aligned_alloc(CACHE_LINE_BYTES, rounded ? rounded : CACHE_LINE_BYTES);
}

void *mem_array_zero(size_t count, size_t size)
{
    void *p = mem_array(count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

void mem_keep(void)
{
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_MAX);
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    mallopt(M_ARENA_MAX, 1);
}

void mem_freep(void *p)
{
    void **pp = p;
    free(*pp);
    *pp = NULL;
}

uint64_t mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t mono_ms(void)
{
    return mono_ns() / 1000000u;
}

uint64_t entropy_u64(void)
{
    uint64_t x = 0;
    while (x == 0)
        if (getrandom(&x, sizeof x, 0) != (ssize_t)sizeof x)
            x = 0;
    return x;
}

void stdio_reserve(void)
{
    /* The lowest free number is what open gives. The wrong direction makes use of it fail with EBADF. */
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

dp_err descriptors_ensure(uint64_t needed, dp_error *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return DP_OK;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= needed)
        return DP_OK;
    return dp_fail(err, DP_SYSTEM, "%ju files may be open at a time, %ju are needed: raise the limit (ulimit -n)",
                   (uintmax_t)limit.rlim_cur, (uintmax_t)needed);
}

uint64_t descriptors_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : limit.rlim_cur;
}

/* Counts the free ones among the numbers from `first` on, at most DESCRIPTORS_RUN. Polling looks at all of them at
 * once, but takes some open ones (O_PATH) for free. */
static uint64_t count_free(uint64_t first, uint64_t count)
{
    struct pollfd items[DESCRIPTORS_RUN];
    uint64_t found = 0;
    for (uint64_t i = 0; i < count; i++)
        items[i] = (struct pollfd){.fd = (int)(first + i)};
    if (poll(items, count, 0) < 0)
        return count;
    for (uint64_t i = 0; i < count; i++)
        found += (items[i].revents & POLLNVAL) && fcntl(items[i].fd, F_GETFD) < 0;
    return found;
}

/* The lowest free number is the next one: those high up are free as a rule, and found at once. */
uint64_t descriptors_left(uint64_t most)
{
    uint64_t end = MIN(descriptors_limit(), (uint64_t)INT_MAX), left = 0;
    while (end > 0 && left < most) {
        uint64_t count = MIN(end, (uint64_t)DESCRIPTORS_RUN);
        end -= count;
        left += count_free(end, count);
    }
    return MIN(left, most);
}

dp_err descriptors_check(uint64_t needed, dp_error *err)
{
    uint64_t left = descriptors_left(needed);
    if (left >= needed)
        return DP_OK;
    return dp_fail(err, DP_SYSTEM,
                   "%ju more files can be opened, %ju are needed: raise the limit of open files (ulimit -n, now %ju)",
                   (uintmax_t)left, (uintmax_t)needed, (uintmax_t)descriptors_limit());
}

uint64_t descriptors_taken(void)
{
    int fd = open("/", O_PATH | O_CLOEXEC);
    if (fd < 0)
        return descriptors_limit();
    close(fd);
    return (uint64_t)fd;
}

static void *wait_for_all(void *mutex)
{
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return NULL;
}

dp_err threads_ensure(uint32_t needed, dp_error *err)
{
    pthread_t threads[THREADS_ENSURED_MAX];
    pthread_mutex_t all = PTHREAD_MUTEX_INITIALIZER;
    pthread_attr_t attr;
    size_t stack_bytes = 0;
    uint32_t started = 0;
    int why = pthread_attr_init(&attr);
    assert(needed <= THREADS_ENSURED_MAX);
    if (!why && pthread_attr_getstacksize(&attr, &stack_bytes) == 0 && stack_bytes < THREAD_STACK_BYTES)
        (void)pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    pthread_mutex_lock(&all);
    while (!why && started < needed && (why = pthread_create(&threads[started], &attr, wait_for_all, &all)) == 0)
        started++;
    pthread_mutex_unlock(&all);
    (void)pthread_attr_destroy(&attr);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (why)
        return dp_fail(err, DP_SYSTEM,
                       "%u of %u threads can be started: %s; raise the limit (ulimit -u, ulimit -v, pids.max)", started,
                       needed, strerror(why));
    return DP_OK;
}

void blob_release(struct blob *b)
{
    if (b->owner && b->release)
        b->release(b->owner);
    *b = (struct blob){0};
}

bool float_vanishes(double x)
{
    return x != 0 && (float)x == 0;
}

double float_parse(const char *text, char **ret_end, bool *ret_vanishes)
{
    errno = 0;
    double x = strtod(text, ret_end);
    if (*ret_end > text + strspn(text, "0123456789+-.eE")) {
        *ret_end = (char *)text;
        x = 0;
    }
    *ret_vanishes = float_vanishes(x) || (x == 0 && errno == ERANGE);
    return x;
}

bool str_append(char *buf, size_t size, size_t *at, const char *fmt, ...)
{
    if (*at >= size)
        return false;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf + *at, size - *at, fmt, args);
    va_end(args);
    if (n < 0)
        return false;
    bool whole = (size_t)n < size - *at;
    *at = whole ? *at + (size_t)n : size - 1;
    return whole;
}

bool str_copy(char *dst, size_t size, const char *src)
{
    size_t n = strlen(src);
    bool whole = n < size;
    n = whole ? n : size - 1;
    memcpy(dst, src, n);
    dst[n] = '\0';
    return whole;
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

/* The bits of a value that is not finite have an exponent of ones only, to which one more carries into the sign's
 * place: without a branch, the compiler makes vectors of it. */
bool floats_finite(size_t n, const float *x)
{
    uint32_t carry = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        carry |= (bits & UINT32_C(0x7fffffff)) + UINT32_C(0x00800000);
    }
    return !(carry >> 31);
}
