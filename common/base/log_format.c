/* Quoting of log values; see log_format.h. A conversion's type is what its length and letter say: callers' formats are
 * checked by the compiler, through the attribute of log_write. Thread: any. */
#include "common/base/log_format.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"

enum { SPEC_MAX = 16 };

/* One conversion of a format: "%-8.3s", "%llu". */
struct spec {
    char text[SPEC_MAX]; /* as it stands in the format, NUL-terminated */
    const char *after;
    size_t precision; /* of %s; SIZE_MAX: none */
    char length[3];   /* "", "h", "hh", "l", "ll", "z", "j", "t" */
    char letter;
};

static struct spec spec_read(const char *at, va_list *args)
{
    struct spec spec = {.precision = SIZE_MAX};
    const char *p = at + 1;
    p += strspn(p, "-+ #0");
    p += strspn(p, "0123456789");
    if (p[0] == '.' && p[1] == '*') {
        int n = va_arg(*args, int);
        spec.precision = n < 0 ? SIZE_MAX : (size_t)n;
        p += 2;
    } else if (p[0] == '.') {
        spec.precision = 0;
        for (p++; *p >= '0' && *p <= '9'; p++)
            spec.precision = spec.precision * 10 + (size_t)(*p - '0');
    }
    for (size_t i = 0; i < 2 && *p && strchr("hlzjt", *p); i++)
        spec.length[i] = *p++;
    spec.letter = *p;
    spec.after = *p ? p + 1 : p;
    size_t n = (size_t)(spec.after - at);
    assert(n < SPEC_MAX);
    memcpy(spec.text, at, n < SPEC_MAX ? n : 0);
    return spec;
}

static bool append_char(char *buf, size_t size, size_t *at, char c)
{
    if (*at + 1 >= size)
        return false;
    buf[(*at)++] = c;
    buf[*at] = '\0';
    return true;
}

static bool append_quoted(char *buf, size_t size, size_t *at, const char *text, size_t n)
{
    bool whole = true;
    for (size_t i = 0; i < n && whole; i++) {
        if (text[i] == '"' || text[i] == '\\')
            whole = append_char(buf, size, at, '\\');
        if (whole)
            whole = append_char(buf, size, at, text[i]);
    }
    return whole;
}

static bool needs_quotes(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strchr("\"\\= ", text[i]) || (unsigned char)text[i] < 0x20)
            return true;
    return n == 0;
}

/* `quoted`: the format has the quotes; `is_value`: the conversion is all of an unquoted value. */
static bool append_string(char *buf, size_t size, size_t *at, const struct spec *spec, const char *text, bool quoted,
                          bool is_value)
{
    if (!text)
        text = "(null)";
    size_t n = strnlen(text, spec->precision);
    bool adds = !quoted && is_value && needs_quotes(text, n), whole = !adds || append_char(buf, size, at, '"');
    if (quoted || adds)
        whole = whole && append_quoted(buf, size, at, text, n);
    else
        whole = str_append(buf, size, at, "%.*s", (int)MIN(n, size), text);
    return whole && (!adds || append_char(buf, size, at, '"'));
}

/* The formats are pieces of ones that the compiler has checked. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

static bool append_signed(char *buf, size_t size, size_t *at, const struct spec *spec, va_list *args)
{
    if (strcmp(spec->length, "ll") == 0)
        return str_append(buf, size, at, spec->text, va_arg(*args, long long));
    if (strcmp(spec->length, "l") == 0)
        return str_append(buf, size, at, spec->text, va_arg(*args, long));
    if (strcmp(spec->length, "j") == 0)
        return str_append(buf, size, at, spec->text, va_arg(*args, intmax_t));
    if (strcmp(spec->length, "z") == 0 || strcmp(spec->length, "t") == 0)
        return str_append(buf, size, at, spec->text, va_arg(*args, ptrdiff_t));
    return str_append(buf, size, at, spec->text, va_arg(*args, int));
}

static bool append_number(char *buf, size_t size, size_t *at, const struct spec *spec, va_list *args)
{
    if (strchr("feEgGaA", spec->letter))
        return str_append(buf, size, at, spec->text, va_arg(*args, double));
    if (spec->letter == 'p')
        return str_append(buf, size, at, spec->text, va_arg(*args, void *));
    return append_signed(buf, size, at, spec, args); /* unsigned ones are as wide */
}

#pragma GCC diagnostic pop

bool log_format(char *buf, size_t size, const char *fmt, va_list args)
{
    bool whole = true, quoted = false;
    const char *begin = fmt;
    size_t at = 0;
    va_list rest;
    va_copy(rest, args);
    buf[0] = '\0';
    while (*fmt && whole) {
        if (*fmt != '%' || fmt[1] == '%') {
            quoted ^= *fmt == '"';
            whole = append_char(buf, size, &at, *fmt);
            fmt += *fmt == '%' ? 2 : 1;
            continue;
        }
        struct spec spec = spec_read(fmt, &rest);
        bool is_value = fmt > begin && fmt[-1] == '=' && (*spec.after == ' ' || *spec.after == '\0');
        whole = spec.letter == 's' ? append_string(buf, size, &at, &spec, va_arg(rest, const char *), quoted, is_value)
                                   : append_number(buf, size, &at, &spec, &rest);
        fmt = spec.after;
    }
    va_end(rest);
    return whole;
}
