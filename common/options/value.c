/* Texts to values, and ranges. Invariant: a field changes only when its text was right as a whole. Thread: any. */
#include "common/options/value.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/number.h"
#include "common/base/util.h"
#include "common/options/nearest.h"

static bool has_range(const struct option *option)
{
    return option->min != 0 || option->max != 0;
}

/* "less than 1" for the largest number below it, else "%g"; 2^64 stands for all that 64 bits hold. */
static void max_text(double max, char *buf, size_t size)
{
    double above = nextafter(max, INFINITY);
    if (max == 0x1p64)
        snprintf(buf, size, "%" PRIu64, UINT64_MAX);
    else if (max != floor(max) && above == floor(above))
        snprintf(buf, size, "less than %g", above);
    else
        snprintf(buf, size, max <= 1e15 && max == floor(max) ? "%.0f" : "%g", max);
}

void option_range_text(const struct option *option, double max_told, char *buf, size_t size)
{
    char max[48];
    max_text(option->max, max, sizeof max);
    bool limited = option->max < max_told;
    if (!has_range(option))
        buf[0] = '\0';
    else if (option->min == DBL_MIN)
        snprintf(buf, size, "more than 0%s%s", limited ? ", at most " : "", limited ? max : "");
    else if (limited)
        snprintf(buf, size, "%.15g to %s", option->min, max);
    else
        snprintf(buf, size, "at least %.15g", option->min);
}

static dp_err fail_range(const struct option *option, const char *text, const char *where, dp_error *err)
{
    char range[128], buf[OPTION_SHOWN_MAX];
    struct option told = *option;
    if (option->type == OPT_U64 && !has_range(option))
        told.max = 0x1p64;
    option_range_text(&told, option->type == OPT_U64 ? INFINITY : DBL_MAX, range, sizeof range);
    return dp_fail(err, DP_USAGE, "%s: %s is out of range%s%s", where, option_shown(text, buf),
                   range[0] ? ": it must be " : "", range);
}

/* True if x is outside min..max, exactly: doubles hold limits up to 2^53, and 2^64 stands for no limit. */
static bool u64_outside(const struct option *option, uint64_t x)
{
    return has_range(option) &&
           ((option->min > 0 && x < (uint64_t)option->min) || (option->max < 0x1p64 && x > (uint64_t)option->max));
}

static dp_err set_u64(const struct option *option, uint64_t *field, const char *text, const char *where, dp_error *err)
{
    char buf[OPTION_SHOWN_MAX];
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0')
        return dp_fail(err, DP_USAGE, "%s: '%s' is not a whole number of %.0f or more", where, option_shown(text, buf),
                       option->min);
    errno = 0;
    uint64_t x = strtoull(text, NULL, 10);
    if (errno || u64_outside(option, x))
        return fail_range(option, text, where, err);
    *field = x;
    return DP_OK;
}

static dp_err fail_vanishes(const char *text, const char *where, dp_error *err)
{
    char buf[OPTION_SHOWN_MAX];
    return dp_fail(err, DP_USAGE, "%s: %s is too small: as a 32-bit float it is 0; the smallest is 1.4e-45", where,
                   option_shown(text, buf));
}

static bool f64_outside(const struct option *option, double x)
{
    return !isfinite(x) || (has_range(option) && (x < option->min || x > option->max));
}

static dp_err set_f64(const struct option *option, double *field, const char *text, const char *where, dp_error *err)
{
    char buf[OPTION_SHOWN_MAX];
    char *end = NULL;
    bool vanishes;
    double x = float_parse(text, &end, &vanishes);
    if (end == text || *end != '\0')
        return dp_fail(err, DP_USAGE, "%s: '%s' is not a number", where, option_shown(text, buf));
    if (vanishes)
        return fail_vanishes(text, where, err);
    if (f64_outside(option, x))
        return fail_range(option, text, where, err);
    *field = x;
    return DP_OK;
}

dp_err options_check_number(const struct option_table *table, const char *name, double value, const char *where,
                            dp_error *err)
{
    int i = option_find(table, name, strlen(name));
    char text[32];
    assert(i >= 0 && table->list[i].type == OPT_F64);
    snprintf(text, sizeof text, "%g", value);
    if (float_vanishes(value))
        return fail_vanishes(text, where, err);
    if (!f64_outside(&table->list[i], value))
        return DP_OK;
    return fail_range(&table->list[i], text, where, err);
}

static dp_err set_bool(bool *field, const char *text, const char *where, dp_error *err)
{
    static const char *const WORDS[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++) {
        if (strcmp(text, WORDS[i]) == 0) {
            *field = i % 2;
            return DP_OK;
        }
    }
    char buf[OPTION_SHOWN_MAX];
    return dp_fail(err, DP_USAGE, "%s: '%s' is neither on nor off", where, option_shown(text, buf));
}

static dp_err set_choice(const struct option *option, int *field, const char *text, const char *where, dp_error *err)
{
    int index = 0;
    for (const char *at = option->choices;; index++) {
        size_t n = strcspn(at, "|");
        if (strlen(text) == n && memcmp(at, text, n) == 0) {
            *field = index;
            return DP_OK;
        }
        if (at[n] == '\0')
            break;
        at += n + 1;
    }
    char buf[OPTION_SHOWN_MAX], hint[128];
    struct nearest nearest = {.want = text};
    nearest_offer_choices(&nearest, option->choices);
    nearest_hint(&nearest, "", hint, sizeof hint);
    return dp_fail(err, DP_USAGE, "%s: '%s' is none of %s%s", where, option_shown(text, buf), option->choices, hint);
}

static dp_err set_string(struct options *opts, const char **field, const char *text, dp_error *err)
{
    const char *copy = options_copy(opts, text, strlen(text));
    if (!copy)
        return dp_fail(err, DP_NOMEM, "out of memory while reading options");
    *field = copy;
    return DP_OK;
}

/* The array doubles whenever the count is a power of two. */
static dp_err list_append(struct options *opts, struct option_list *list, const char *text, dp_error *err)
{
    if ((list->count & (list->count - 1)) == 0) {
        const char **grown = options_memory(opts, MAX(list->count * 2, (size_t)1) * sizeof *grown);
        if (!grown)
            return dp_fail(err, DP_NOMEM, "out of memory while reading options");
        if (list->count)
            memcpy(grown, list->values, list->count * sizeof *grown);
        list->values = grown;
    }
    dp_err e = set_string(opts, &list->values[list->count], text, err);
    list->count += !e;
    return e;
}

static dp_err set_list(struct options *opts, struct option_list *list, bool append, const char *text, dp_error *err)
{
    if (!append)
        *list = (struct option_list){0};
    return list_append(opts, list, text, err);
}

dp_err option_set(struct options *opts, size_t i, const char *text, enum option_source source, const char *where,
                  dp_error *err)
{
    const struct option *option = &opts->table->list[i];
    void *field = (char *)opts->fields + option->field;
    dp_err e = DP_USAGE;
    if (!text[0] && (option->type == OPT_STRING || option->type == OPT_LIST))
        return dp_fail(err, DP_USAGE, "%s: is empty; give a value, or leave it out", where);
    switch (option->type) {
    case OPT_STRING:
        e = set_string(opts, field, text, err);
        break;
    case OPT_U64:
        e = set_u64(option, field, text, where, err);
        break;
    case OPT_F64:
        e = set_f64(option, field, text, where, err);
        break;
    case OPT_FLAG:
    case OPT_SWITCH:
        e = set_bool(field, text, where, err);
        break;
    case OPT_CHOICE:
        e = set_choice(option, field, text, where, err);
        break;
    case OPT_LIST:
        e = set_list(opts, field, opts->sources[i] == source, text, err);
        break;
    }
    if (!e)
        opts->sources[i] = source;
    return e;
}

void option_clear(struct options *opts, size_t i)
{
    const struct option *option = &opts->table->list[i];
    void *field = (char *)opts->fields + option->field;
    switch (option->type) {
    case OPT_STRING:
        *(const char **)field = NULL;
        break;
    case OPT_U64:
        *(uint64_t *)field = 0;
        break;
    case OPT_F64:
        *(double *)field = 0;
        break;
    case OPT_FLAG:
    case OPT_SWITCH:
        *(bool *)field = false;
        break;
    case OPT_CHOICE:
        *(int *)field = -1;
        break;
    case OPT_LIST:
        *(struct option_list *)field = (struct option_list){0};
        break;
    }
}
