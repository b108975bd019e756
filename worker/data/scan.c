/* Runs of lines; see scan.h. Thread: any. */
#include "worker/data/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/util.h"

enum { READ_BYTES = 1 << 20 };

/* Reads more of the file behind what is there. */
static dp_err fill(struct scanner *s, dp_error *err)
{
    if (s->begin > 0) {
        memmove(s->buf, s->buf + s->begin, s->have - s->begin);
        s->have -= s->begin;
        s->begin = 0;
    }
    if (s->room - s->have < READ_BYTES) {
        size_t room = MAX(2 * s->room, (size_t)2 * READ_BYTES);
        char *more = realloc(s->buf, room);
        if (!more)
            return dp_fail(err, DP_NOMEM, "%s: out of memory", s->name);
        s->buf = more;
        s->room = room;
    }
    ssize_t n;
    do
        n = read(s->fd, s->buf + s->have, READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return dp_fail(err, DP_IO, "%s: cannot be read: %s", s->name, strerror(errno));
    s->have += (size_t)n;
    s->ended = n == 0;
    return DP_OK;
}

dp_err scanner_init(struct scanner *scanner, int fd, const char *name, dp_error *err)
{
    *scanner = (struct scanner){.fd = fd, .name = name, .line = 1};
    return fill(scanner, err);
}

void scanner_fini(struct scanner *scanner)
{
    free(scanner->buf);
    *scanner = (struct scanner){0};
}

const char *scanner_head(const struct scanner *scanner, size_t *ret_bytes)
{
    *ret_bytes = scanner->have;
    return scanner->buf;
}

dp_err scanner_more(struct scanner *scanner, bool *ret_any, dp_error *err)
{
    dp_err e = scanner->ended ? DP_OK : fill(scanner, err);
    if (!e)
        *ret_any = !scanner->ended;
    return e;
}

void scanner_passes_over(struct scanner *scanner, size_t bytes)
{
    scanner->header = bytes;
}

static bool is_row(const char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes && at[i] != '#'; i++)
        if (at[i] != ' ' && at[i] != '\t' && at[i] != '\r' && at[i] != '\n')
            return true;
    return false;
}

/* Length of the line at buf[at], newline included; 0 at the end of the file. Reads on as it has to. */
static dp_err line_find(struct scanner *s, size_t at, size_t *ret_bytes, dp_error *err)
{
    size_t looked = at; /* relative to begin, which reading moves */
    for (;;) {
        const char *from = s->buf + s->begin + looked;
        size_t left = s->have - s->begin - looked;
        const char *newline = left ? memchr(from, '\n', left) : NULL;
        if (newline || s->ended) {
            *ret_bytes = newline ? looked + (size_t)(newline - from) + 1 - at : looked + left - at;
            return DP_OK;
        }
        looked += left;
        dp_err e = fill(s, err);
        if (e)
            return e;
    }
}

dp_err scanner_next(struct scanner *s, uint64_t rows, struct scan *ret_scan, dp_error *err)
{
    struct scan scan = {.offset = s->offset, .line = s->line};
    size_t line = 0;
    do {
        dp_err e = line_find(s, scan.bytes, &line, err);
        if (e)
            return e;
        scan.rows += scan.bytes >= s->header && is_row(s->buf + s->begin + scan.bytes, line);
        scan.bytes += line;
        scan.lines += line > 0;
    } while (line > 0 && scan.rows < rows);
    scan.at = s->buf + s->begin;
    s->begin += scan.bytes;
    s->offset += scan.bytes;
    s->line += scan.lines;
    s->header = 0;
    *ret_scan = scan;
    return DP_OK;
}
