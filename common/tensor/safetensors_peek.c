/* Kinds of files at a path; see safetensors_peek.h. Invariant: a file that is not understood counts as somebody's.
 * Thread: any. */
#include "common/tensor/safetensors_peek.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

enum { LENGTH_BYTES = 8, HEADER_BYTES_MAX = 16 << 20, SUFFIXES_MAX = 1000 };

static bool read_all(int fd, void *to, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = read(fd, (char *)to + done, bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* The header as JSON, NULL where there is none. */
static json_t *header_read(int fd)
{
    uint64_t length = 0;
    if (!read_all(fd, &length, LENGTH_BYTES) || length < 2 || length > HEADER_BYTES_MAX)
        return NULL;
    AUTOFREE char *text = mem_array((size_t)length, 1);
    return text && read_all(fd, text, (size_t)length) ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
}

static bool meta_is(const json_t *meta, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(meta, key));
    return text && strcmp(text, value) == 0;
}

static enum model_at kind_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return MODEL_AT_OTHER;
    if (st.st_size == 0)
        return MODEL_AT_NONE;
    json_t *header = header_read(fd);
    const json_t *meta = json_object_get(header, "__metadata__");
    enum model_at kind = MODEL_AT_OTHER;
    if (meta_is(meta, "format", "dp-model-1"))
        kind = meta_is(meta, "complete", "no") || meta_is(meta, "diverged", "yes") ? MODEL_AT_UNFINISHED
                                                                                   : MODEL_AT_FINISHED;
    json_decref(header);
    return kind;
}

enum model_at safetensors_peek(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would wait */
    if (fd < 0 && errno == ENOENT)
        return MODEL_AT_NONE;
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? MODEL_AT_UNKNOWN : MODEL_AT_OTHER;
    enum model_at kind = kind_of(fd);
    close(fd);
    return kind;
}

/* Why what is at the path is not replaced, in words that are true of it. */
static dp_err refuse_other(const char *path, dp_error *err)
{
    struct stat st;
    if (stat(path, &st))
        return dp_fail(err, DP_IO, "%.400s: cannot be written: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return dp_fail(err, DP_IO, "%.400s: is a folder: name a file, or move the folder away", path);
    if (!S_ISREG(st.st_mode))
        return dp_fail(err, DP_IO, "%.400s: is a device or a pipe, give a file name", path);
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS))
        return dp_fail(err, DP_IO,
                       "%.400s: is a file that cannot be read, so it may be no model of dp, and is not replaced (%s): "
                       "name another file, or move it away",
                       path, strerror(errno));
    return dp_fail(err, DP_IO,
                   "%.400s: is a file that is no model of dp, and is not replaced: name another file, or move it away",
                   path);
}

dp_err safetensors_peek_replace(const char *path, bool finished, dp_error *err)
{
    enum model_at kind = safetensors_peek(path);
    if (kind == MODEL_AT_OTHER)
        return refuse_other(path, err);
    if (!finished && kind == MODEL_AT_FINISHED)
        return dp_fail(err, DP_IO,
                       "%.400s: is a finished model, and is not replaced by one that is not: name another file", path);
    return DP_OK;
}

static bool may_be_less(const char *path)
{
    enum model_at kind = safetensors_peek(path);
    return kind == MODEL_AT_NONE || kind == MODEL_AT_UNFINISHED;
}

dp_err safetensors_peek_unfinished(const char *path, const char *suffix, char *buf, size_t size, dp_error *err)
{
    if ((size_t)snprintf(buf, size, "%s", path) < size && may_be_less(path))
        return DP_OK;
    for (int i = 0; i < SUFFIXES_MAX; i++) {
        int n = i == 0 ? snprintf(buf, size, "%s.%s", path, suffix) : snprintf(buf, size, "%s.%s.%d", path, suffix, i);
        if (n < 0 || (size_t)n >= size)
            return dp_fail(err, DP_IO, "%.300s: the path is too long for .%s behind it", path, suffix);
        if (may_be_less(buf))
            return DP_OK;
    }
    return dp_fail(err, DP_IO, "%.300s.%s, .1 and so on are all files that are not replaced: move some of them away",
                   path, suffix);
}
