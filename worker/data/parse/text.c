/* A text with its place for messages, which the readers share. Thread: any. */
#include "worker/data/parse/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"

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
