/* Schedules against libm's formulas, their ends, restarts, warm-up, and settings while running. */
#include <criterion/criterion.h>
#include <math.h>

#include "server/update/schedule.h"

static void expect(double got, double want, const char *what, unsigned t)
{
    cr_assert(fabs(got - want) <= 4e-16 * fabs(want) + 1e-18, "%s at %u: %.17g, not %.17g", what, t, got, want);
}

static struct schedule make(enum schedule_kind kind)
{
    return (struct schedule){.kind = kind,
                             .lr = 0.8,
                             .lr_min = 0.01,
                             .gamma = 0.5,
                             .decay = 0.02,
                             .peak = 0.3,
                             .div = 25,
                             .final_div = 1e4,
                             .every = 30,
                             .period = 100,
                             .period_mult = 1};
}

Test(schedule, formulas)
{
    for (unsigned t = 0; t < 100; t++) {
        struct schedule s = make(SCHEDULE_CONSTANT);
        expect(schedule_rate(&s, t), 0.8, "constant", t);
        s.kind = SCHEDULE_STEP;
        expect(schedule_rate(&s, t), 0.8 * pow(0.5, t / 30), "step", t);
        s.kind = SCHEDULE_EXPONENTIAL;
        s.gamma = 0.99;
        cr_assert_float_eq(schedule_rate(&s, t), 0.8 * pow(0.99, t), 1e-14);
        s.kind = SCHEDULE_COSINE;
        cr_assert_float_eq(schedule_rate(&s, t), 0.01 + 0.79 * (1 + cos(M_PI * t / 100.0)) / 2, 5e-16);
        s.kind = SCHEDULE_INV_SQRT;
        expect(schedule_rate(&s, t), 0.8 / sqrt(1 + 0.02 * t), "inv-sqrt", t);
        s.kind = SCHEDULE_INV_TIME;
        expect(schedule_rate(&s, t), 0.8 / (1 + 0.02 * t), "inv-time", t);
        expect(schedule_rate_late(&s, t, 5), schedule_rate(&s, t), "inv-time knows no delay", t);
        s.kind = SCHEDULE_ADA_DELAY;
        expect(schedule_rate(&s, t), 0.8 / (1 + 0.02 * sqrt(t)), "ada-delay", t);
        expect(schedule_rate_late(&s, t, 2.5), 0.8 / (1 + 0.02 * sqrt(t + 2.5)), "ada-delay, late", t);
    }
}

/* torch.optim.lr_scheduler.OneCycleLR(max_lr=0.8, total_steps=100), pct_start 0.3, cosine. */
Test(schedule, one_cycle_is_torchs)
{
    struct schedule s = make(SCHEDULE_ONE_CYCLE);
    for (unsigned t = 0; t < 100; t++) {
        double a = t <= 29 ? 0.032 : 0.8, b = t <= 29 ? 0.8 : 0.032 / 1e4;
        double x = t <= 29 ? t / 29.0 : (t - 29) / 70.0;
        cr_assert_float_eq(schedule_rate(&s, t), b + (a - b) / 2 * (1 + cos(M_PI * x)), 1e-15, "%u", t);
    }
    expect(schedule_rate(&s, 29), 0.8, "peak", 29);
    expect(schedule_rate(&s, 99), 0.032 / 1e4, "end", 99);
    expect(schedule_rate(&s, 12345), 0.032 / 1e4, "after the end", 12345);
    s.period = 1;
    cr_assert(isfinite(schedule_rate(&s, 0)));
    s.period = 2;
    cr_assert(isfinite(schedule_rate(&s, 0)) && schedule_rate(&s, 0) > 0);
}

Test(schedule, cosine_restarts)
{
    struct schedule s = make(SCHEDULE_COSINE);
    s.period = 10;
    s.period_mult = 2;
    expect(schedule_rate(&s, 10), 0.8, "restart", 10);
    expect(schedule_rate(&s, 30), 0.8, "restart", 30);
    expect(schedule_rate(&s, 70), 0.8, "restart", 70);
    cr_assert_float_eq(schedule_rate(&s, 20), (0.8 + 0.01) / 2, 1e-15);
    s.period_mult = 1;
    expect(schedule_rate(&s, (uint64_t)1e15), 0.8, "far", 0);
    s.period_mult = 1000000;
    cr_assert(schedule_rate(&s, UINT64_MAX - 1) > 0);
}

Test(schedule, warm_up_leads_to_the_first_value)
{
    for (int kind = SCHEDULE_CONSTANT; kind <= SCHEDULE_ADA_DELAY; kind++) {
        struct schedule s = make((enum schedule_kind)kind), plain = s;
        s.warmup = 5;
        for (unsigned t = 0; t < 5; t++)
            expect(schedule_rate(&s, t), schedule_rate(&plain, 0) * (t + 1) / 5, "warm-up", t);
        for (unsigned t = 5; t < 50; t++)
            expect(schedule_rate(&s, t), schedule_rate(&plain, t - 5), "after it", t);
    }
}

Test(schedule, set_holds_from_its_step_on)
{
    struct schedule s = make(SCHEDULE_INV_TIME);
    cr_assert(schedule_set(&s, 10, 0.4));
    cr_assert(schedule_set(&s, 20, 0.2));
    expect(schedule_rate(&s, 9), 0.8 / 1.18, "before", 9);
    expect(schedule_rate(&s, 10), 0.4 / 1.2, "at", 10);
    expect(schedule_rate(&s, 25), 0.2 / 1.5, "after", 25);
    cr_assert(schedule_set(&s, 15, 0.1), "takes back what was to come later");
    cr_assert_eq(schedule_lr(&s, 25), 0.1);
    struct schedule full = make(SCHEDULE_CONSTANT);
    for (unsigned i = 0; i < SCHEDULE_CHANGES_MAX; i++)
        cr_assert(schedule_set(&full, i, 0.1));
    cr_assert_not(schedule_set(&full, 1000, 0.1));
}

/* A job that goes on with another end: steps keep the rates that they had. */
Test(schedule, rates_of_the_past_keep_their_period)
{
    static const enum schedule_kind KINDS[] = {SCHEDULE_COSINE, SCHEDULE_ONE_CYCLE};
    static const uint64_t PERIODS[] = {90, 200, 150}, FROM[] = {0, 60, 110, 400};
    for (unsigned k = 0; k < 2; k++) {
        struct schedule s = make(KINDS[k]), plain = s;
        s.warmup = plain.warmup = 7;
        for (unsigned i = 0; i < 3; i++) {
            s.period = PERIODS[i];
            cr_assert(schedule_extend(&s, FROM[i]));
        }
        cr_assert_eq(s.periods.count, 3);
        for (unsigned i = 0; i < 3; i++) {
            plain.period = PERIODS[i];
            for (uint64_t t = FROM[i]; t < FROM[i + 1]; t++)
                cr_assert_eq(schedule_rate(&s, t), schedule_rate(&plain, t), "%u", (unsigned)t);
        }
        cr_assert(schedule_extend(&s, 130) && s.periods.count == 3, "nothing has changed");
        s.period = 200;
        cr_assert(schedule_extend(&s, 110) && s.periods.count == 2, "no step had the one between");
        s.period = 33;
        cr_assert(schedule_extend(&s, 0) && s.periods.count == 1 && s.periods.list[0].period == 33);
    }
    struct schedule full = make(SCHEDULE_COSINE);
    for (full.period = 1; full.period <= SCHEDULE_PERIODS_MAX; full.period++)
        cr_assert(schedule_extend(&full, full.period - 1));
    cr_assert_not(schedule_extend(&full, full.period));
}

Test(schedule, constancy_is_never_claimed_falsely)
{
    for (int kind = SCHEDULE_CONSTANT; kind <= SCHEDULE_ADA_DELAY; kind++)
        for (unsigned warmup = 0; warmup < 4; warmup++) {
            struct schedule s = make((enum schedule_kind)kind);
            s.warmup = warmup;
            s.every = 4;
            cr_assert(schedule_set(&s, 12, 0.3));
            for (unsigned from = 0; from < 16; from++)
                for (unsigned to = from + 1; to < 20; to++)
                    for (unsigned t = from; t < to && schedule_is_constant(&s, from, to); t++)
                        cr_assert_eq(schedule_rate(&s, t), schedule_rate(&s, from));
        }
    struct schedule s = make(SCHEDULE_CONSTANT);
    cr_assert(schedule_is_constant(&s, 0, 1000000));
}

Test(schedule, power_by_squaring)
{
    cr_assert_eq(power(0.3, 0), 1);
    cr_assert_float_eq(power(0.999, 12345), pow(0.999, 12345), 1e-17);
    cr_assert_eq(power(0.5, 100000), 0);
}

/* A job has as many settings as are asked for: those of steps that are over are forgotten, and no rate in use changes.
 */
Test(schedule, forgets_settings_that_no_step_in_use_depends_on)
{
    struct schedule s = make(SCHEDULE_INV_TIME);
    for (unsigned i = 1; i <= 10 * SCHEDULE_CHANGES_MAX; i++) {
        const uint64_t oldest = 3 * (uint64_t)i - 2; /* the setting before is in force */
        cr_assert(schedule_forget(&s, oldest));
        cr_assert(schedule_set(&s, 3 * (uint64_t)i, 1.0 / i));
        cr_assert_leq(s.change_count, 2);
        cr_assert_eq(schedule_lr(&s, oldest), i == 1 ? 0.8 : 1.0 / (i - 1));
        cr_assert_eq(schedule_lr(&s, oldest + 1), i == 1 ? 0.8 : 1.0 / (i - 1));
        cr_assert_eq(schedule_lr(&s, oldest + 2), 1.0 / i);
        cr_assert_eq(s.lr, 0.8, "what it began with is shown");
    }
    struct schedule few = make(SCHEDULE_CONSTANT);
    cr_assert(schedule_set(&few, 10, 0.4));
    cr_assert(schedule_forget(&few, 9));
    cr_assert_eq(schedule_lr(&few, 9), 0.8);
    cr_assert_eq(schedule_lr(&few, 10), 0.4);
}

/* Rows of tables are brought up to date from any step on: their rates are those of a schedule that forgets nothing. */
Test(schedule, keeps_the_past_for_rows_of_tables)
{
    struct schedule_past past = {0};
    struct schedule whole = make(SCHEDULE_STEP), s = make(SCHEDULE_STEP);
    s.past = &past;
    for (unsigned i = 1; i <= 200; i++) {
        cr_assert(schedule_set(&whole, 5 * (uint64_t)i, 1.0 / i));
        cr_assert(schedule_forget(&s, 5 * (uint64_t)i - 1));
        cr_assert(schedule_set(&s, 5 * (uint64_t)i, 1.0 / i));
        cr_assert_leq(s.change_count, 2);
    }
    for (unsigned t = 0; t < 1010; t++) {
        cr_assert_eq(schedule_rate(&s, t), schedule_rate(&whole, t), "at %u", t);
        for (unsigned to = t + 1; to < t + 12; to++)
            cr_assert_eq(schedule_is_constant(&s, t, to), schedule_is_constant(&whole, t, to), "[%u, %u)", t, to);
    }
    cr_assert_eq(past.count, 198);
    schedule_past_fini(&past);
    cr_assert_null(past.list);
}
