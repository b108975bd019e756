/* A text that is being read, with its place for error messages. Thread: any. */
#ifndef DP_WORKER_DATA_PARSE_TEXT_H
#define DP_WORKER_DATA_PARSE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

enum { PLACE_NAME_MAX = 200, QUOTE_MAX = 64, STOP_LINES = 4096 };

/* A text that is being read. */
struct text {
    char name[PLACE_NAME_MAX]; /* of the file, as errors show it: the end of a very long one */
    const char *at;
    const char *end;
    uint64_t line; /* of `at`, from 1 */
};
/* Starts at the first byte after a UTF-8 byte order mark. */
void text_init(struct text *text, const char *path, const void *bytes, size_t size);
/* Counts `c` from `at` on. */
uint64_t text_count(const struct text *text, char c);
/* DP_DATA with "FILE:LINE: " before the text. */
DP_MUST_CHECK dp_err text_fail(const struct text *text, dp_error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The token in single quotes, cut if long, other than printable ASCII as \xNN; returns `buf`. */
const char *token_quote(char buf[QUOTE_MAX], const char *at, size_t n);

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* DP_STOPPED once the source's stop flag is set. Readers ask every some thousand lines. */
DP_MUST_CHECK dp_err data_stopped(const volatile int *stop, dp_error *err);

#endif
