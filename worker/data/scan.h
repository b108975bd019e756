/* Runs of whole lines of a text file, of a number of rows each, which become blocks. Thread: any. */
#ifndef DP_WORKER_DATA_SCAN_H
#define DP_WORKER_DATA_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

/* Lines are rows unless they are blank or have a comment only. */
struct scanner {
    int fd;
    const char *name;
    char *buf; /* from `begin` on: bytes of the file that no scan has had yet */
    size_t begin, have, room;
    uint64_t offset; /* in the file, of buf[begin] */
    uint64_t line;   /* of it, from 1 */
    size_t header;   /* bytes there that are no row */
    bool ended;      /* the file */
};

/* A run of lines; the bytes are borrowed until the next. */
struct scan {
    const char *at;
    size_t bytes;
    uint64_t offset, line;
    uint64_t rows, lines;
};

/* Reads the beginning of the file. `name` is for messages, borrowed. DP_IO, DP_NOMEM. */
DP_MUST_CHECK dp_err scanner_init(struct scanner *scanner, int fd, const char *name, dp_error *err);
void scanner_fini(struct scanner *scanner);
/* The first bytes of the file, before the first scan; more of them after scanner_more, false in *ret_any at its end. */
const char *scanner_head(const struct scanner *scanner, size_t *ret_bytes);
DP_MUST_CHECK dp_err scanner_more(struct scanner *scanner, bool *ret_any, dp_error *err);
/* The first `bytes` are no row, though they belong to the first scan. */
void scanner_passes_over(struct scanner *scanner, size_t bytes);
/* The next run of `rows` rows, or what is left; none with rows == 0. DP_IO, DP_NOMEM. */
DP_MUST_CHECK dp_err scanner_next(struct scanner *scanner, uint64_t rows, struct scan *ret_scan, dp_error *err);

#endif
