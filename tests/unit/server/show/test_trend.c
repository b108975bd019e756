/* Whether training goes anywhere: verdicts on made-up runs whose losses are known. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>

#include "server/show/trend.h"

static struct trend begin(double zero, double majority, uint64_t per_epoch, uint64_t steps)
{
    struct trend t;
    trend_begin(&t, &(struct trend_facts){.zero_loss = zero,
                                          .majority = majority,
                                          .eval_majority = majority,
                                          .steps_per_epoch = per_epoch,
                                          .train_steps = steps});
    return t;
}

/* Epochs of one step of 100 rows with these mean losses; `correct` rows are right. */
static struct trend run(double zero, const double *losses, uint64_t epochs, uint64_t correct)
{
    struct trend t = begin(zero, 0.6, 1, epochs);
    for (uint64_t e = 0; e < epochs; e++)
        trend_step(&t, e, 100 * losses[e], 100, correct);
    return t;
}
#define RUN_OF(zero, correct, ...) \
    run(zero, (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double), correct)

Test(trend, a_run_that_learns_is_not_doubted)
{
    struct trend t = RUN_OF(0.6931, 90, 0.6931, 0.5, 0.4, 0.35, 0.33);
    cr_assert_not(trend_rises(&t));
    cr_assert_eq(trend_end(&t, true).what, 0);
}

/* Small losses jump by large factors, and large ones by small ones. */
Test(trend, noise_is_not_doubted)
{
    struct trend t = RUN_OF(0.6931, 99, 0.6931, 0.01, 0.002, 0.004, 0.001, 0.005, 0.002, 0.008, 0.003, 0.009);
    cr_assert_not(trend_rises(&t));
    cr_assert_eq(trend_end(&t, true).what, 0);
    t = RUN_OF(0.6931, 80, 0.6931, 0.41, 0.42, 0.40, 0.42, 0.41, 0.42, 0.40, 0.43);
    cr_assert_not(trend_rises(&t));
    cr_assert_eq(trend_end(&t, true).what, 0);
}

Test(trend, a_loss_above_that_of_zeros)
{
    struct trend t = RUN_OF(0.6931, 90, 0.6931, 1.1e9, 1.2e9, 1.17e9);
    struct trend_verdict v = trend_end(&t, true);
    cr_assert(v.what & TREND_ABOVE_ZERO);
    cr_assert_float_eq(v.loss, 1.17e9, 1);
    cr_assert_float_eq(v.earlier, 0.6931, 1e-9);
    t = RUN_OF(0.6931, 90, 0.6931, 0.6932, 0.7); /* within 2 % */
    cr_assert_not(trend_end(&t, true).what & TREND_ABOVE_ZERO);
    t = RUN_OF(0, 90, 0.6931, 5); /* not known */
    cr_assert_not(trend_end(&t, true).what & TREND_ABOVE_ZERO);
}

Test(trend, a_loss_above_that_of_an_earlier_epoch)
{
    struct trend t = RUN_OF(2.3, 90, 2.3, 0.9, 0.3, 0.8);
    struct trend_verdict v = trend_end(&t, true);
    cr_assert_eq(v.what, TREND_ABOVE_EARLIER);
    cr_assert_float_eq(v.earlier, 0.3, 1e-9);
    t = RUN_OF(2.3, 90, 2.3, 0.9, 0.3, 0.35);
    cr_assert_eq(trend_end(&t, true).what, 0);
}

Test(trend, losses_that_rise_are_told_once)
{
    struct trend t = begin(0.6931, 0, 1, 10);
    const double losses[] = {0.69, 0.9, 1.2, 1.5, 2.0, 3.0};
    int told = 0, first = -1;
    for (uint64_t e = 0; e < 6; e++) {
        trend_step(&t, e, losses[e], 1, 0);
        bool rises = trend_rises(&t);
        first = rises && !told ? (int)e : first;
        told += rises;
    }
    cr_assert_eq(told, 1);
    cr_assert_eq(first, 3, "the third rise is that of epoch 3, not %d", first);
}

/* Up and down again and again: 3/4 a pair. */
Test(trend, losses_that_oscillate)
{
    struct trend t = begin(0.6931, 0, 1, 100);
    uint64_t e = 0;
    for (; e < 100 && !trend_rises(&t); e++)
        trend_step(&t, e, e % 2 ? 5 : 1, 1, 0);
    cr_assert_eq(e, 8);
}

/* On its way down by momentum a loss swings. */
Test(trend, losses_that_swing_and_fall)
{
    struct trend t = begin(6, 0, 1, 100);
    for (uint64_t e = 0; e < 100; e++) {
        trend_step(&t, e, 6 * exp(-0.1 * (double)e) * (1 + cos((double)e)) / 2, 1, 0);
        cr_assert_not(trend_rises(&t), "at epoch %d", (int)e);
    }
}

Test(trend, no_better_than_the_majority)
{
    struct trend t = RUN_OF(0.6931, 60, 0.6931, 0.6, 0.6);
    struct trend_verdict v = trend_end(&t, true);
    cr_assert_eq(v.what, TREND_MAJORITY);
    cr_assert_float_eq(v.accuracy, 0.6, 1e-12);
    cr_assert_eq(trend_end(&t, false).what, 0, "there are no classes");
    t = RUN_OF(0.6931, 61, 0.6931, 0.6, 0.6);
    cr_assert_eq(trend_end(&t, true).what, 0);
    trend_eval(&t, 100, 60); /* the evaluation counts, where there is one */
    cr_assert_eq(trend_end(&t, true).what, TREND_MAJORITY);
    t = RUN_OF(0.6931, 60, 0.6931); /* all that was measured is the initial theta */
    cr_assert_eq(trend_end(&t, true).what, 0);
}

/* A single epoch is judged by its later half; one that was cut short together with the one before. */
Test(trend, runs_of_parts_of_epochs)
{
    struct trend t = begin(1, 0, 100, 10);
    for (uint64_t s = 0; s < 10; s++)
        trend_step(&t, s, s < 5 ? 50 : 0.5, 1, 0);
    struct trend_verdict v = trend_end(&t, true);
    cr_assert_eq(v.what, 0);
    cr_assert_float_eq(v.loss, 0.5, 1e-12);
    t = begin(1, 0, 10, 21);
    for (uint64_t s = 0; s < 21; s++)
        trend_step(&t, s, s < 10 ? 0.9 : s < 20 ? 0.5 : 1.6, 1, 0);
    v = trend_end(&t, true);
    cr_assert_float_eq(v.loss, 0.6, 1e-12); /* 11 steps */
    cr_assert_float_eq(v.earlier, 0.5, 1e-12);
    cr_assert_eq(v.what, 0);
}

/* Nothing was measured. */
Test(trend, a_run_without_steps)
{
    struct trend t = begin(1, 0.5, 10, 10);
    cr_assert_eq(trend_end(&t, true).what, 0);
    trend_step(&t, 0, NAN, 1, 0);
    cr_assert_eq(trend_end(&t, true).what, 0);
}

/* As a manifest writes and reads it. */
static json_t *as_text(json_t *sums)
{
    char *text = json_dumps(sums, JSON_REAL_PRECISION(17));
    json_decref(sums);
    json_t *read = json_loads(text, 0, NULL);
    free(text);
    return read;
}

/* Cut anywhere, a run that goes on knows what one that was not cut does, to the bit. */
Test(trend, a_run_goes_on)
{
    enum { STEPS = 24 };
    for (uint64_t cut = 1; cut < STEPS; cut++) {
        struct trend whole = begin(0.6931, 0.6, 2, STEPS), parts = begin(0.6931, 0.6, 2, STEPS);
        for (uint64_t t = 0; t < STEPS; t++) {
            if (t == cut) {
                json_t *sums = as_text(trend_sums_json(&parts));
                parts = begin(0.6931, 0.6, 2, STEPS);
                trend_resume(&parts, sums);
                json_decref(sums);
            }
            double loss = 30 + (double)(t * t) / 3;
            trend_step(&whole, t, loss, 100, 50 + t);
            trend_step(&parts, t, loss, 100, 50 + t);
            if (t == STEPS / 2) {
                trend_eval(&whole, 100, 60);
                trend_eval(&parts, 100, 60);
            }
            cr_assert_eq(trend_rises(&whole), trend_rises(&parts), "cut at %d, step %d", (int)cut, (int)t);
        }
        json_t *a = trend_sums_json(&whole), *b = trend_sums_json(&parts);
        cr_assert(json_equal(a, b), "cut at %d", (int)cut);
        json_decref(a);
        json_decref(b);
    }
}
