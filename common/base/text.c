/* UTF-8, as far as refusing what is not printable. Thread: any. */
#include "common/base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the character at s (1..4), or 0 if it is none that may be printed. */
static size_t char_length(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || left < n)
        return 0;
    uint32_t code = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    static const uint32_t smallest[] = {0, 0, 0xa0, 0x800, 0x10000}; /* below 0xa0 are the C1 controls */
    if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return n;
}

bool text_printable(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t at = 0; at < length;) {
        size_t n = char_length(s + at, length - at);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

void text_clean(char *dst, size_t size, const char *src)
{
    const unsigned char *s = (const unsigned char *)src;
    size_t left = strlen(src), at = 0;
    while (left > 0) {
        size_t n = char_length(s, left), step = n ? n : 1;
        if (at + step >= size)
            break;
        memcpy(dst + at, n ? (const void *)s : "?", step);
        at += step;
        s += step;
        left -= step;
    }
    dst[at] = '\0';
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
