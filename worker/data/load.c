/* Files into memory, plain or gzip. Invariants: `bytes` grows by doubling and holds at least one byte more than was
 * read; a gzip file is taken whole, every member of it, or refused. Thread: any. */
#include "worker/data/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/util.h"
#include "worker/data/file_stamp.h"
#include "worker/data/parse/text.h"

enum { PACKED_BYTES = 1 << 18, READ_BYTES = 1 << 24, GZIP_WINDOW_BITS = 15 + 16 };

struct load {
    const char *path;
    int fd;
    const volatile int *stop;
    char *bytes;
    size_t size, capacity;
    bool ended; /* the file */
    dp_error *err;
};

/* Fills [to, to + room), or less at the file's end. A pipe gives what is in it, in as many reads as it takes. */
static dp_err read_full(struct load *load, void *to, size_t room, size_t *ret_bytes)
{
    size_t have = 0;
    while (have < room && !load->ended) {
        if (data_stopped(load->stop, load->err))
            return DP_STOPPED;
        ssize_t n = read(load->fd, (char *)to + have, MIN(room - have, (size_t)READ_BYTES));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dp_fail(load->err, DP_IO, "%s: cannot be read: %s", load->path, strerror(errno));
        load->ended = n == 0;
        have += (size_t)n;
    }
    *ret_bytes = have;
    return DP_OK;
}

static dp_err load_grow(struct load *load, size_t capacity)
{
    if (mem_check_room(load->path, capacity - load->size, load->err))
        return DP_NOMEM;
    char *more = capacity > load->size && capacity <= PTRDIFF_MAX ? realloc(load->bytes, capacity) : NULL;
    if (!more)
        return dp_fail(load->err, DP_NOMEM, "%s: not enough memory to hold the file (%zu bytes)", load->path, capacity);
    load->bytes = more;
    load->capacity = capacity;
    return DP_OK;
}

/* ---- plain ---- */

/* The rest of the file behind what is in `bytes` already. */
static dp_err load_plain(struct load *load)
{
    dp_err e = DP_OK;
    while (!e && !load->ended) {
        size_t n = 0;
        if (load->size == load->capacity)
            e = load_grow(load, 2 * load->capacity);
        if (!e)
            e = read_full(load, load->bytes + load->size, load->capacity - load->size, &n);
        load->size += n;
    }
    return e;
}

/* ---- gzip ---- */

struct gzip {
    z_stream z;
    unsigned char *packed; /* [PACKED_BYTES] */
    bool inside;           /* a member; else between two */
    uint64_t members;
};

static dp_err gzip_refill(struct load *load, struct gzip *gzip)
{
    size_t n = 0;
    dp_err e = read_full(load, gzip->packed, PACKED_BYTES, &n);
    gzip->z.next_in = gzip->packed;
    gzip->z.avail_in = (unsigned)n;
    return e;
}

/* Behind a member: another one, or zeros, which tapes leave, up to the end. */
static dp_err member_begin(struct load *load, struct gzip *gzip)
{
    z_stream *z = &gzip->z;
    if (*z->next_in == 0x1f) {
        gzip->inside = true;
        gzip->members++;
        return inflateReset(z) == Z_OK ? DP_OK : dp_fail(load->err, DP_NOMEM, "%s: out of memory", load->path);
    }
    while (z->avail_in > 0 && *z->next_in == 0) {
        z->next_in++;
        z->avail_in--;
    }
    if (z->avail_in == 0)
        return DP_OK;
    return dp_fail(load->err, DP_DATA,
                   "%s: the gzip file is damaged (bytes that are no gzip follow its part %llu); copy or download it "
                   "again",
                   load->path, (unsigned long long)gzip->members);
}

/* Unpacks some of the member into the room that there is. */
static dp_err member_inflate(struct load *load, struct gzip *gzip)
{
    z_stream *z = &gzip->z;
    size_t room = MIN(load->capacity - load->size, (size_t)READ_BYTES);
    z->next_out = (unsigned char *)load->bytes + load->size;
    z->avail_out = (unsigned)room;
    int code = inflate(z, Z_NO_FLUSH);
    load->size += room - z->avail_out;
    gzip->inside = code != Z_STREAM_END;
    if (code == Z_MEM_ERROR)
        return dp_fail(load->err, DP_NOMEM, "%s: out of memory while unpacking it", load->path);
    if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR) /* the last: no input is left */
        return DP_OK;
    return dp_fail(load->err, DP_DATA, "%s: the gzip file is damaged (%s, in its part %llu); copy or download it again",
                   load->path, z->msg ? z->msg : "no valid data", (unsigned long long)gzip->members);
}

static dp_err members_inflate(struct load *load, struct gzip *gzip)
{
    dp_err e = DP_OK;
    while (!e && !(gzip->z.avail_in == 0 && load->ended)) {
        if (gzip->z.avail_in == 0)
            e = gzip_refill(load, gzip);
        else if (!gzip->inside)
            e = member_begin(load, gzip);
        else if (load->size == load->capacity)
            e = load_grow(load, 2 * load->capacity);
        else
            e = member_inflate(load, gzip);
    }
    /* The last bytes may be taken in while there is no room for what they give. */
    while (!e && gzip->inside) {
        size_t before = load->size;
        if (load->size == load->capacity)
            e = load_grow(load, 2 * load->capacity);
        if (!e)
            e = member_inflate(load, gzip);
        if (!e && gzip->inside && load->size == before)
            e = dp_fail(load->err, DP_DATA, "%s: the gzip file is truncated; copy or download it again", load->path);
    }
    return e;
}

/* Unpacks the file, whose first bytes stand in `bytes`. */
static dp_err load_gzip(struct load *load)
{
    struct gzip gzip = {.packed = mem_array(PACKED_BYTES, 1)};
    if (!gzip.packed || load->size > PACKED_BYTES || inflateInit2(&gzip.z, GZIP_WINDOW_BITS) != Z_OK) {
        free(gzip.packed);
        return dp_fail(load->err, DP_NOMEM, "%s: out of memory", load->path);
    }
    memcpy(gzip.packed, load->bytes, load->size);
    gzip.z.next_in = gzip.packed;
    gzip.z.avail_in = (unsigned)load->size;
    load->size = 0;
    dp_err e = members_inflate(load, &gzip);
    inflateEnd(&gzip.z);
    free(gzip.packed);
    return e;
}

/* ---- both ---- */

/* Memory for a plain file whole and one byte, with which its end is seen; a gzip file's grows. */
static size_t size_guess(int fd)
{
    struct stat st;
    bool known = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
    return (known ? (size_t)st.st_size : 0) + PACKED_BYTES;
}

/* Devices other than a terminal, of which a person is at the other end, have no end. */
static bool is_endless(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && !isatty(fd);
}

static dp_err load_file(struct load *load)
{
    static const unsigned char GZIP[] = {0x1f, 0x8b};
    struct file_stamp stamp = file_stamp_take(load->fd);
    dp_err e = load_grow(load, size_guess(load->fd));
    if (!e)
        e = read_full(load, load->bytes, sizeof GZIP, &load->size);
    if (!e && !load->ended && is_endless(load->fd))
        e = dp_fail(load->err, DP_DATA, "%s: is a device, and data are read from a file or a pipe", load->path);
    if (!e && load->bytes && load->size == sizeof GZIP && memcmp(load->bytes, GZIP, sizeof GZIP) == 0)
        e = load_gzip(load);
    else if (!e)
        e = load_plain(load);
    return e ? e : file_stamp_check(&stamp, load->fd, load->path, load->err);
}

dp_err data_load(const char *path, const volatile int *stop, char **ret_bytes, size_t *ret_size, dp_error *err)
{
    struct load load = {.path = path, .stop = stop, .err = err, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (load.fd < 0 && errno == EINTR && data_stopped(stop, err)) /* a pipe that nobody has opened for writing */
        return DP_STOPPED;
    if (load.fd < 0)
        return dp_fail(err, DP_IO, "%s: cannot be opened: %s", path, strerror(errno));
    dp_err e = load_file(&load);
    close(load.fd);
    if (e) {
        free(load.bytes);
        return e;
    }
    *ret_bytes = load.bytes;
    *ret_size = load.size;
    return DP_OK;
}
