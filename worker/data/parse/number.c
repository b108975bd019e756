/* Decimal text to float, correctly rounded and free of the locale. Most numbers of data files are short: a mantissa
 * below 2^53 times or over a power of ten that a double holds exactly gives the double nearest to the decimal (Clinger
 * 1990), and that gives the nearest float unless the double lies exactly between two floats. All others go to strtof in
 * the C locale. Thread: any. */
#include "worker/data/parse/number.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "worker/data/parse/text.h"

enum { MANTISSA_DIGITS = 19, POWER_MAX = 22, EXPONENT_MAX = 100000 };

static const double POWERS[POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* (-1)^negative * mantissa * 10^exponent */
struct decimal {
    uint64_t mantissa;
    int digits; /* of the mantissa, without leading zeros */
    int64_t exponent;
    bool negative;
    bool cut; /* there are more digits than the mantissa holds */
};

/* Takes digits into the mantissa; `scale` is what each one does to the exponent (-1 behind the point). */
static const char *digits_scan(const char *at, const char *end, struct decimal *d, int scale)
{
    for (; at < end && is_digit(*at); at++) {
        if (d->digits == MANTISSA_DIGITS) {
            d->cut = true;
            continue;
        }
        d->mantissa = d->mantissa * 10 + (uint64_t)(*at - '0');
        d->digits += d->mantissa != 0;
        d->exponent += scale;
    }
    return at;
}

/* The part from 'e' on; returns `at` itself if it is no exponent. */
static const char *exponent_scan(const char *at, const char *end, struct decimal *d)
{
    if (at == end || (*at != 'e' && *at != 'E'))
        return at;
    const char *p = at + 1;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (p == end || !is_digit(*p))
        return at;
    int e = 0;
    for (; p < end && is_digit(*p); p++)
        e = e < EXPONENT_MAX ? e * 10 + (*p - '0') : e;
    d->exponent += negative ? -e : e;
    return p;
}

static const char *decimal_scan(const char *at, const char *end, struct decimal *d)
{
    d->negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    const char *whole = at;
    at = digits_scan(at, end, d, 0);
    ptrdiff_t digits = at - whole;
    if (at < end && *at == '.') {
        const char *part = at + 1;
        at = digits_scan(part, end, d, -1);
        digits += at - part;
    }
    return digits ? exponent_scan(at, end, d) : NULL;
}

/* True if the fast way gives the nearest float. */
static bool decimal_fast(const struct decimal *d, float *ret_value)
{
    if (d->cut || d->mantissa > (uint64_t)1 << 53)
        return false;
    double v = (double)d->mantissa;
    if (d->mantissa && d->exponent) {
        if (d->exponent < -POWER_MAX || d->exponent > POWER_MAX)
            return false;
        v = d->exponent < 0 ? v / POWERS[-d->exponent] : v * POWERS[d->exponent];
        uint64_t bits;
        memcpy(&bits, &v, sizeof bits);
        /* 1e-22 <= v < 2^53 * 1e22: a normal float; these bits are what the float cannot hold. */
        if ((bits & 0x1fffffff) == 0x10000000)
            return false;
    }
    *ret_value = (float)(d->negative ? -v : v);
    return true;
}

/* strtof in the C locale over the same characters. */
static bool decimal_exact(const char *at, const char *end, float *ret_value)
{
    char buf[NUMBER_CHARS_MAX + 1];
    size_t n = (size_t)(end - at);
    if (n > NUMBER_CHARS_MAX)
        return false;
    memcpy(buf, at, n);
    buf[n] = '\0';
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return false;
    char *after;
    float v = strtof_l(buf, &after, c);
    freelocale(c);
    if (after != buf + n || !isfinite(v))
        return false;
    *ret_value = v;
    return true;
}

const char *number_scan(const char *at, const char *end, float *ret_value)
{
    struct decimal d = {0};
    const char *after = decimal_scan(at, end, &d);
    if (!after || decimal_fast(&d, ret_value))
        return after;
    return decimal_exact(at, after, ret_value) ? after : NULL;
}

/* Whether the token is one of the words that stand for a value that is not finite or not there. */
static bool word_find(const char *at, size_t n)
{
    static const char *const WORDS[] = {"nan", "na", "n/a", "null", "inf", "infinity"};
    if (n && (*at == '-' || *at == '+'))
        at++, n--;
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
        if (strlen(WORDS[i]) == n && strncasecmp(at, WORDS[i], n) == 0)
            return true;
    return false;
}

const char *number_fault(const char *at, size_t n)
{
    struct decimal d = {0};
    if (n == 0)
        return "is empty, a number is needed";
    if (word_find(at, n))
        return "is not a finite number; remove the row or put a value there";
    if (decimal_scan(at, at + n, &d) != at + n)
        return "is not a number";
    if (n > NUMBER_CHARS_MAX)
        return "has more than 400 characters; write the number shorter";
    return "is too large for a 32-bit float; scale the data";
}

bool number_like(const char *at, size_t n)
{
    struct decimal d = {0};
    return word_find(at, n) || (n && decimal_scan(at, at + n, &d) == at + n);
}
