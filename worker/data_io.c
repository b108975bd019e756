/* Files into memory, plain or gzip, and how readers name a place in them. Thread: any. */
#include "data_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "util.h"

enum { LOAD_BUFFER_BYTES = 1 << 18, LOAD_RUN_BYTES = 1 << 24 };

void text_init(struct text *text, const char *path, const void *bytes, size_t size)
{
    size_t n = strlen(path);
    if (n < sizeof text->name)
        memcpy(text->name, path, n + 1);
    else
        snprintf(text->name, sizeof text->name, "...%s", path + n - (sizeof text->name - 4));
    text->at = size ? bytes : "";
    text->end = text->at + size;
    text->line = 1;
    if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        text->at += 3;
}

uint64_t text_count(const struct text *text, char c)
{
    uint64_t n = 0;
    for (const char *p = text->at; p < text->end; p++)
        n += *p == c;
    return n;
}

dp_err text_fail(const struct text *text, dp_error *err, const char *fmt, ...)
{
    char what[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return dp_fail(err, DP_DATA, "%s:%" PRIu64 ": %s", text->name, text->line, what);
}

const char *token_quote(char buf[QUOTE_MAX], const char *at, size_t n)
{
    size_t used = 0;
    (void)str_append(buf, QUOTE_MAX, &used, "'");
    for (size_t i = 0; i < n; i++) {
        if (used > QUOTE_MAX - 10) {
            (void)str_append(buf, QUOTE_MAX, &used, "...");
            break;
        }
        bool plain = at[i] >= 0x20 && at[i] < 0x7f;
        (void)str_append(buf, QUOTE_MAX, &used, plain ? "%c" : "\\x%02x", (unsigned char)at[i]);
    }
    (void)str_append(buf, QUOTE_MAX, &used, "'");
    return buf;
}

dp_err data_stopped(const volatile int *stop, dp_error *err)
{
    bool set = stop && __atomic_load_n(stop, __ATOMIC_RELAXED); /* by a signal handler, or by another thread */
    return set ? dp_fail(err, DP_STOPPED, "stopped by a signal") : DP_OK;
}

/* A first guess of the bytes that the file has when unpacked; a plain file's is right. */
static size_t size_guess(int fd)
{
    struct stat st;
    bool known = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
    return (known ? (size_t)st.st_size : 0) + LOAD_BUFFER_BYTES;
}

/* What gzread said, once it returned a negative number or the file ended too early. */
static dp_err gzip_fail(const char *path, gzFile file, dp_error *err)
{
    int code = Z_OK;
    const char *text = gzerror(file, &code);
    if (code == Z_ERRNO)
        return dp_fail(err, DP_IO, "%s: cannot be read: %s", path, strerror(errno));
    if (code == Z_MEM_ERROR)
        return dp_fail(err, DP_NOMEM, "%s: out of memory while unpacking it", path);
    if (code == Z_BUF_ERROR)
        return dp_fail(err, DP_DATA, "%s: the gzip file is truncated; copy or download it again", path);
    return dp_fail(err, DP_DATA, "%s: the gzip file is damaged (%s); copy or download it again", path, text);
}

/* Reads to the end; *bytes grows by doubling and holds at least one byte more than was read. */
static dp_err load_all(const char *path, gzFile file, const volatile int *stop, char **bytes, size_t capacity,
                       size_t *ret_size, dp_error *err)
{
    size_t size = 0;
    for (;;) {
        if (data_stopped(stop, err))
            return DP_STOPPED;
        if (size == capacity || !*bytes) {
            capacity = *bytes ? capacity * 2 : capacity;
            if (mem_check_room(path, capacity - size, err))
                return DP_NOMEM;
            char *more = capacity > size && capacity <= PTRDIFF_MAX ? realloc(*bytes, capacity) : NULL;
            if (!more)
                return dp_fail(err, DP_NOMEM, "%s: not enough memory to hold the file (%zu bytes)", path, capacity);
            *bytes = more;
        }
        int n = gzread(file, *bytes + size, (unsigned)MIN(capacity - size, (size_t)LOAD_RUN_BYTES));
        if (n < 0 && data_stopped(stop, err)) /* the signal ended the read */
            return DP_STOPPED;
        if (n < 0)
            return gzip_fail(path, file, err);
        if (n == 0)
            break;
        size += (size_t)n;
    }
    int code = Z_OK;
    (void)gzerror(file, &code);
    if (code != Z_OK)
        return gzip_fail(path, file, err);
    *ret_size = size;
    return DP_OK;
}

dp_err data_load(const char *path, const volatile int *stop, char **ret_bytes, size_t *ret_size, dp_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == EINTR && data_stopped(stop, err)) /* a pipe that nobody has opened for writing */
        return DP_STOPPED;
    if (fd < 0)
        return dp_fail(err, DP_IO, "%s: cannot be opened: %s", path, strerror(errno));
    size_t capacity = size_guess(fd);
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        close(fd);
        return dp_fail(err, DP_NOMEM, "%s: out of memory", path);
    }
    (void)gzbuffer(file, LOAD_BUFFER_BYTES);
    char *bytes = NULL;
    dp_err e = load_all(path, file, stop, &bytes, capacity, ret_size, err);
    (void)gzclose(file);
    if (e)
        free(bytes);
    else
        *ret_bytes = bytes;
    return e;
}
