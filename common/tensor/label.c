/* Labels; see label.h. Numbers have the grammar of data files, [+-] digits [. digits] [e [+-] digits], in the C locale.
 * Thread: any. */
#include "common/tensor/label.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/text.h"

enum { SHORT_DIGITS = 15 }; /* doubles tell decimals of this many digits apart */

static locale_t c_locale;

static void locale_make(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* strtod in the C locale; *after == text where there is no number. */
static double number_convert(const char *text, char **after)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, locale_make);
    if (c_locale != (locale_t)0)
        return strtod_l(text, after, c_locale);
    *after = (char *)text;
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* [+-] digits, so few that the number is exact. */
static bool short_whole(const char *at, size_t n, double *ret_value)
{
    size_t sign = *at == '-' || *at == '+';
    int64_t value = 0;
    if (n == sign || n - sign > SHORT_DIGITS)
        return false;
    for (size_t i = sign; i < n; i++) {
        if (!is_digit(at[i]))
            return false;
        value = value * 10 + (at[i] - '0');
    }
    *ret_value = (double)(*at == '-' ? -value : value) + 0.0;
    return true;
}

/* The digits of a decimal without leading and trailing zeros. Returns how many. */
static size_t digits_take(const char *at, size_t n, char *digits)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < n && at[i] != 'e' && at[i] != 'E'; i++) {
        if (!is_digit(at[i]) || (count == 0 && at[i] == '0'))
            continue;
        digits[count++] = at[i];
        kept = at[i] != '0' ? count : kept;
    }
    return kept;
}

/* Whether the double, written with as many digits as the text has, has the text's. */
static bool digits_kept(const char *at, size_t n, double value)
{
    char ours[LABEL_TEXT_MAX], text[LABEL_TEXT_MAX + 32], theirs[sizeof text];
    size_t count = digits_take(at, n, ours);
    if (count == 0 || (count <= SHORT_DIGITS && fabs(value) >= DBL_MIN))
        return true;
    snprintf(text, sizeof text, "%.*e", (int)count - 1, value);
    size_t have = digits_take(text, strlen(text), theirs);
    while (have < count)
        theirs[have++] = '0';
    return value != 0 && memcmp(ours, theirs, count) == 0;
}

static bool is_whole(const char *at, size_t n)
{
    for (size_t i = *at == '-' || *at == '+'; i < n; i++)
        if (!is_digit(at[i]))
            return false;
    return true;
}

/* Whether the double is the number of the text: a whole number exactly, another in as many digits as it has. */
static bool number_kept(const char *at, size_t n, double value)
{
    char exact[LABEL_TEXT_MAX + 32];
    if (!is_whole(at, n))
        return digits_kept(at, n, value);
    if (!isfinite(value))
        return false;
    snprintf(exact, sizeof exact, "%.0f", fabs(value));
    size_t skip = *at == '-' || *at == '+';
    while (skip + 1 < n && at[skip] == '0')
        skip++;
    return strlen(exact) == n - skip && memcmp(exact, at + skip, n - skip) == 0;
}

/* Whether all of the text is a number. */
static bool number_scan_all(const char *at, size_t n, double *ret_value)
{
    static const char CHARS[] = "0123456789+-.eE";
    char text[LABEL_TEXT_MAX + 1], *after;
    memcpy(text, at, n);
    text[n] = '\0';
    if (strspn(text, CHARS) != n)
        return false;
    *ret_value = number_convert(text, &after) + 0.0;
    return after == text + n;
}

bool label_is_hole(const char *at, size_t n)
{
    static const char *const HOLES[] = {"nan", "na", "n/a", "null", "inf", "infinity"};
    if (n == 0)
        return true;
    if (*at == '-' || *at == '+')
        at++, n--;
    for (size_t i = 0; i < sizeof HOLES / sizeof HOLES[0]; i++)
        if (strlen(HOLES[i]) == n && strncasecmp(at, HOLES[i], n) == 0)
            return true;
    return false;
}

/* A whole number beyond the doubles is a word, in one spelling. */
static bool whole_word(struct label_token *token)
{
    if (!is_whole(token->at, token->n))
        return false;
    while (token->n > 1 && (*token->at == '+' || *token->at == '0')) {
        token->at++;
        token->n--;
    }
    token->word = true;
    token->value = 0;
    return true;
}

const char *label_read(const char *at, size_t n, struct label_token *ret_token)
{
    struct label_token token = {.at = at, .n = n};
    if (n == 0)
        return "is empty, every row needs a label";
    if (label_is_hole(at, n))
        return "is not a finite number; remove the row or put a label there";
    if (n > LABEL_TEXT_MAX)
        return "has more than 128 bytes; labels are shorter";
    if (!short_whole(at, n, &token.value)) {
        token.word = !number_scan_all(at, n, &token.value);
        if (!token.word && !isfinite(token.value) && !whole_word(&token))
            return "is too large for a 64-bit float; scale it";
        if (!token.word && !number_kept(at, n, token.value) && !whole_word(&token))
            return "has more digits than a 64-bit float holds; write it shorter";
        token.value = token.word ? 0 : token.value;
    }
    if (token.word && !text_printable(at, n))
        return "has characters that cannot be printed; write labels in UTF-8";
    *ret_token = token;
    return NULL;
}

const char *label_number_text(double value, char buf[LABEL_NUMBER_CHARS])
{
    char text[LABEL_NUMBER_CHARS], *after;
    double whole;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        char *comma = strchr(text, ',');
        if (comma) /* of another locale */
            *comma = '.';
        if (number_convert(text, &after) == value)
            break;
    }
    if (fabs(value) < 1e15 && modf(value, &whole) == 0)
        snprintf(text, sizeof text, "%.0f", value);
    memcpy(buf, text, sizeof text);
    return buf;
}

int label_compare(const struct label *a, const struct label *b)
{
    if (a->word != b->word)
        return a->word - b->word;
    return a->word ? strcmp(a->text, b->text) : (a->value > b->value) - (a->value < b->value);
}

/* RFC 8259: [-] int [frac] [exp], where int has no leading zero. */
bool label_json_number(const char *text)
{
    const char *at = text + (*text == '-');
    size_t whole = strspn(at, "0123456789");
    if (whole == 0 || (whole > 1 && *at == '0'))
        return false;
    at += whole;
    if (*at == '.') {
        size_t part = strspn(at + 1, "0123456789");
        if (part == 0)
            return false;
        at += 1 + part;
    }
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '+' || at[1] == '-');
        size_t digits = strspn(at, "0123456789");
        if (digits == 0)
            return false;
        at += digits;
    }
    return *at == '\0';
}
