/* Schedules; see schedule.h. Invariant: no function of libm but sqrt, which IEEE 754 defines to the last bit. */
#include "server/update/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"

double power(double x, uint64_t n)
{
    double result = 1;
    while (n) {
        if (n & 1)
            result *= x;
        n >>= 1;
        x *= x;
    }
    return result;
}

/* cos(a) for 0 <= a <= pi/4 + a little, sin likewise: Taylor's series, error below 1e-16. */
static double cos_small(double a)
{
    double z = a * a, sum = 0;
    for (int k = 16; k >= 2; k -= 2)
        sum = (1 + sum) * -z / (double)(k * (k - 1));
    return 1 + sum;
}

static double sin_small(double a)
{
    double z = a * a, sum = 0;
    for (int k = 17; k >= 3; k -= 2)
        sum = (1 + sum) * -z / (double)(k * (k - 1));
    return a * (1 + sum);
}

/* cos(pi x), 0 <= x <= 1. */
static double cos_pi(double x)
{
    const double pi = 3.14159265358979323846;
    if (x > 0.5)
        return -cos_pi(1 - x);
    return x <= 0.25 ? cos_small(pi * x) : sin_small(pi * (0.5 - x));
}

/* From `a` at x = 0 to `b` at x = 1 along half a cosine. */
static double anneal(double a, double b, double x)
{
    return b + (a - b) * (1 + cos_pi(x)) / 2;
}

static double cosine(const struct schedule *s, double lr, uint64_t period, uint64_t t)
{
    while (t >= period) {
        t -= period;
        if (__builtin_mul_overflow(period, s->period_mult, &period))
            period = UINT64_MAX;
        else if (s->period_mult == 1)
            t %= period;
    }
    return anneal(lr, s->lr_min, (double)t / (double)period);
}

static double one_cycle(const struct schedule *s, double lr, uint64_t period, uint64_t t)
{
    double last = (double)(period - 1), top = s->peak * (double)period - 1, at = (double)t;
    double start = lr / s->div, end = start / s->final_div;
    if (at >= last)
        return end;
    if (top > 0 && at <= top)
        return anneal(start, lr, at / top);
    top = top > 0 ? top : 0;
    return anneal(lr, end, (at - top) / (last - top));
}

/* The schedule without its warm-up. */
static double shape(const struct schedule *s, double lr, uint64_t period, uint64_t t, double delay)
{
    switch (s->kind) {
    case SCHEDULE_CONSTANT:
        return lr;
    case SCHEDULE_STEP:
        return lr * power(s->gamma, t / s->every);
    case SCHEDULE_EXPONENTIAL:
        return lr * power(s->gamma, t);
    case SCHEDULE_COSINE:
        return cosine(s, lr, period, t);
    case SCHEDULE_INV_SQRT:
        return lr / sqrt(1 + s->decay * (double)t);
    case SCHEDULE_INV_TIME:
        return lr / (1 + s->decay * (double)t);
    case SCHEDULE_ONE_CYCLE:
        return one_cycle(s, lr, period, t);
    case SCHEDULE_ADA_DELAY:
        return lr / (1 + s->decay * sqrt((double)t + delay));
    }
    return lr;
}

/* Number of settings of the past that hold from step t or before. */
static size_t past_until(const struct schedule_past *past, uint64_t t)
{
    size_t low = 0, high = past ? past->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (past->list[middle].from <= t)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

double schedule_lr(const struct schedule *s, uint64_t t)
{
    if (s->change_count > 0 && s->changes[0].from <= t) {
        uint32_t i = 1;
        while (i < s->change_count && s->changes[i].from <= t)
            i++;
        return s->changes[i - 1].lr;
    }
    size_t past = past_until(s->past, t);
    return past > 0 ? s->past->list[past - 1].lr : s->lr;
}

static uint64_t period_at(const struct schedule *s, uint64_t t)
{
    const struct schedule_periods *periods = &s->periods;
    for (uint32_t i = periods->count; i > 0; i--)
        if (periods->list[i - 1].from <= t)
            return periods->list[i - 1].period;
    return s->period;
}

double schedule_rate(const struct schedule *s, uint64_t t)
{
    return schedule_rate_late(s, t, 0);
}

double schedule_rate_late(const struct schedule *s, uint64_t t, double delay)
{
    double lr = schedule_lr(s, t);
    uint64_t period = period_at(s, t);
    if (t + 1 >= s->warmup)
        return shape(s, lr, period, t > s->warmup ? t - s->warmup : 0, delay);
    return shape(s, lr, period, 0, delay) * (double)(t + 1) / (double)s->warmup;
}

bool schedule_set(struct schedule *s, uint64_t from, double lr)
{
    while (s->change_count && s->changes[s->change_count - 1].from >= from)
        s->change_count--;
    if (s->change_count == SCHEDULE_CHANGES_MAX)
        return false;
    s->changes[s->change_count++] = (struct schedule_change){from, lr};
    return true;
}

bool schedule_is_periodic(const struct schedule *s)
{
    return s->kind == SCHEDULE_COSINE || s->kind == SCHEDULE_ONE_CYCLE;
}

bool schedule_extend(struct schedule *s, uint64_t from)
{
    struct schedule_periods *periods = &s->periods;
    while (periods->count > 0 && periods->list[periods->count - 1].from >= from)
        periods->count--;
    if (periods->count > 0 && periods->list[periods->count - 1].period == s->period)
        return true;
    if (periods->count == SCHEDULE_PERIODS_MAX)
        return false;
    const uint64_t begin = periods->count ? from : 0;
    periods->list[periods->count++] = (struct schedule_period){begin, s->period};
    return true;
}

bool schedule_past_add(struct schedule_past *past, const struct schedule_change *changes, uint32_t count)
{
    if (past->count + count > SCHEDULE_PAST_MAX)
        return false;
    if (count == 0)
        return true;
    if (past->count + count > past->room) {
        size_t room = MAX(2 * past->room, past->count + count);
        struct schedule_change *list = realloc(past->list, room * sizeof *list);
        if (!list)
            return false;
        past->list = list;
        past->room = room;
    }
    memcpy(past->list + past->count, changes, count * sizeof *changes);
    past->count += count;
    return true;
}

void schedule_past_fini(struct schedule_past *past)
{
    free(past->list);
    *past = (struct schedule_past){0};
}

/* The first that stays is the one in force at `oldest`; without a past it may as well hold from the start. */
bool schedule_forget(struct schedule *s, uint64_t oldest)
{
    uint32_t gone = 0;
    while (gone + 1 < s->change_count && s->changes[gone + 1].from <= oldest)
        gone++;
    if (gone == 0)
        return true;
    if (s->past && !schedule_past_add(s->past, s->changes, gone))
        return false;
    s->change_count -= gone;
    memmove(s->changes, s->changes + gone, s->change_count * sizeof s->changes[0]);
    if (!s->past)
        s->changes[0].from = 0;
    return true;
}

bool schedule_is_constant(const struct schedule *s, uint64_t from, uint64_t to)
{
    if (to - from <= 1)
        return true;
    size_t past = past_until(s->past, from);
    if (s->past && past < s->past->count && s->past->list[past].from < to)
        return false;
    for (uint32_t i = 0; i < s->change_count; i++)
        if (s->changes[i].from > from && s->changes[i].from < to)
            return false;
    if (s->warmup > 1 && from + 1 < s->warmup)
        return false;
    if (s->kind == SCHEDULE_STEP)
        return to <= s->warmup ||
               (from > s->warmup ? from - s->warmup : 0) / s->every == (to - 1 - s->warmup) / s->every;
    return s->kind == SCHEDULE_CONSTANT;
}
