/* Lazy equals dense: what the catch-up does to a row is what the commits that it was left out of would have done. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/util.h"
#include "server/update/catchup.h"
#include "tests/unit/support/reference.h"

enum { ELEMS = 40 };

static struct reference dense; /* large */

static double draw(uint64_t stream, uint64_t i)
{
    return rng_normal(5, RNG_STREAM_INIT, stream, i);
}

/* `before`: what the gap began with, whose rounding is carried along. */
static void expect_equal(const double *got, const double *want, const double *before, const char *what,
                         const char *about)
{
    double scale = 0;
    for (int i = 0; i < ELEMS; i++)
        scale = fmax(scale, fabs(before[i]));
    for (int i = 0; i < ELEMS; i++)
        cr_assert(fabs(got[i] - want[i]) <= 1e-12 * fmax(fabs(want[i]), scale), "%s: %s[%d] is %.17g, not %.17g", about,
                  what, i, got[i], want[i]);
}

/* `touched` commits with gradients, then a gap. */
static void check(const struct update_rule *rule, const struct update_params *params, const struct regular *regular,
                  unsigned touched, unsigned gap, const char *about)
{
    float start[ELEMS];
    double g[ELEMS], w[ELEMS], state[2][ELEMS];
    static struct reference before;
    for (int i = 0; i < ELEMS; i++)
        start[i] = (float)draw(1, (uint64_t)i);
    reference_start(&dense, rule->name, params, regular, ELEMS, start);
    for (unsigned t = 0; t < touched; t++) {
        for (int i = 0; i < ELEMS; i++)
            g[i] = draw(2 + t, (uint64_t)i);
        reference_step(&dense, g);
    }
    before = dense;
    struct catchup c;
    catchup_prepare(&c, rule, params, regular, touched, touched + gap);
    for (int i = 0; i < ELEMS; i++) {
        double s[UPDATE_STATE_MAX] = {dense.a[i], dense.b[i]};
        w[i] = dense.w[i];
        catchup_element(&c, &w[i], s);
        state[0][i] = s[0];
        state[1][i] = s[1];
    }
    for (unsigned t = 0; t < gap; t++)
        reference_step(&dense, NULL);
    expect_equal(w, dense.w, before.w, "w", about);
    if (rule->state_count > 0)
        expect_equal(state[0], dense.a, before.a, "state", about);
    if (rule->state_count > 1)
        expect_equal(state[1], dense.b, before.b, "second state", about);
}

static const struct regular REGULARS[] = {
    {.l1 = 0, .l2 = 0}, {.l2 = 0.02}, {.l1 = 0.003}, {.l1 = 0.003, .l2 = 0.02}, {.l1 = 0.5, .l2 = 0.001}};
static const unsigned GAPS[] = {0, 1, 2, 7, 100, 1000};

static void check_rule(const struct update_rule *rule, const struct update_params *params, const char *schedule)
{
    char about[160];
    for (size_t r = 0; r < sizeof REGULARS / sizeof REGULARS[0]; r++)
        for (size_t g = 0; g < sizeof GAPS / sizeof GAPS[0]; g++)
            for (unsigned touched = 1; touched < 12; touched += 5) {
                snprintf(about, sizeof about, "%s, %s, %s, l1 %g, l2 %g, gap %u after %u", rule->name, schedule,
                         params->decay == DECAY_COUPLED ? "coupled" : "decoupled", REGULARS[r].l1, REGULARS[r].l2,
                         GAPS[g], touched);
                check(rule, params, &REGULARS[r], touched, GAPS[g], about);
            }
}

static void check_all(void (*change)(struct update_params *params), const char *schedule)
{
    for (int i = 0; i < UPDATE_RULES; i++) {
        const struct update_rule *rule = update_rule_at(i);
        if (!catchup_possible(rule, &REGULARS[0]))
            continue;
        for (int decay = DECAY_COUPLED; decay <= DECAY_DECOUPLED; decay++) {
            struct update_params params = reference_params(rule, 0.05);
            params.decay = rule->decoupled ? DECAY_DECOUPLED : (enum decay_kind)decay;
            if (rule != &rule_ftrl)
                change(&params);
            check_rule(rule, &params, schedule);
        }
    }
}

static void constant(struct update_params *params)
{
    (void)params;
}

static void falling(struct update_params *params)
{
    params->schedule.kind = SCHEDULE_INV_TIME;
    params->schedule.decay = 0.01;
}

static void set_within(struct update_params *params)
{
    cr_assert(schedule_set(&params->schedule, 9, 0.01));
    params->schedule.warmup = 5;
}

Test(catchup, constant_rate)
{
    check_all(constant, "constant");
}

Test(catchup, varying_rate)
{
    check_all(falling, "inv-time");
    check_all(set_within, "warm-up and set");
}

/* MATH.md's closed forms, against the matrix. */
Test(catchup, closed_forms)
{
    struct update_params p = reference_params(&rule_momentum, 0.05);
    struct regular none = {0}, decay = {.l2 = 0.02};
    struct catchup c;
    double beta = 0.9, eta = 0.05, n = 37, power_n = pow(beta, n);
    catchup_prepare(&c, &rule_momentum, &p, &none, 3, 40);
    cr_assert_float_eq(c.mm, power_n, 1e-15);
    cr_assert_float_eq(c.wm, -eta * beta * (1 - power_n) / (1 - beta), 1e-14);
    catchup_prepare(&c, &rule_nesterov, &p, &none, 3, 40);
    cr_assert_float_eq(c.wm, -eta * beta * beta * (1 - power_n) / (1 - beta), 1e-14);
    p.decay = DECAY_DECOUPLED;
    catchup_prepare(&c, &rule_momentum, &p, &decay, 3, 40);
    double r = 1 - eta / (1 - beta) * 0.02;
    cr_assert_float_eq(c.ww, pow(r, n), 1e-14);
    cr_assert_float_eq(c.wm, -eta * beta * (pow(r, n) - power_n) / (r - beta), 1e-14);
    p.momentum = r = 0.8; /* r = beta: -eta m n beta^n */
    p.schedule.lr = 0.2 * 0.2 / 0.02;
    catchup_prepare(&c, &rule_momentum, &p, &decay, 3, 40);
    cr_assert_float_eq(c.wm, -p.schedule.lr * n * pow(r, n), 1e-12);
}

/* Long gaps cost no more than short ones where there is a closed form, and stay exact. */
Test(catchup, long_gaps)
{
    struct update_params p = reference_params(&rule_sgd, 0.05);
    struct regular elastic = {.l1 = 1e-9, .l2 = 1e-8};
    struct catchup c;
    double w = 2, none[UPDATE_STATE_MAX] = {0};
    catchup_prepare(&c, &rule_sgd, &p, &elastic, 0, 1000000000000);
    cr_assert_eq(c.kind, CATCHUP_SHRINK);
    catchup_element(&c, &w, none);
    cr_assert_eq(w, 0);
    catchup_prepare(&c, &rule_sgd, &p, &elastic, 0, 1000000);
    w = 2;
    catchup_element(&c, &w, none);
    double log_a = 1e6 * log1p(-0.05 * 1e-8);
    cr_assert_float_eq(w, exp(log_a) * 2 + 0.1 * expm1(log_a), 1e-12);
}

Test(catchup, rows_of_floats_are_rounded_once)
{
    struct update_params p = reference_params(&rule_momentum, 0.05);
    struct regular none = {0};
    struct catchup c;
    float w[3] = {1, -2, 0.5F}, m[3] = {0.25F, 0, -8};
    float *const state[1] = {m};
    catchup_prepare(&c, &rule_momentum, &p, &none, 0, 10);
    double want = 1 + c.wm * 0.25;
    catchup_row(&c, 3, w, state);
    cr_assert_eq(w[0], (float)want);
    cr_assert_eq(w[1], -2);
    cr_assert_eq(m[2], (float)(-8 * c.mm));
}

/* A gap that no replay would come to the end of: what is 0 and has no momentum stays 0, and second moments fade. */
Test(catchup, elements_at_rest_cost_nothing)
{
    static const struct update_rule *const RULES[] = {&rule_momentum, &rule_nesterov, &rule_adagrad,
                                                      &rule_rmsprop,  &rule_adam,     &rule_adamw};
    struct update_params params = {.schedule = {.kind = SCHEDULE_INV_TIME, .lr = 0.1, .decay = 0.5},
                                   .momentum = 0.9,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .alpha = 0.99,
                                   .eps = 1e-8};
    const struct regular both = {.l1 = 0.1, .l2 = 0.1}, none = {0};
    for (size_t r = 0; r < ARRAY_LEN(RULES); r++) {
        const struct update_rule *rule = RULES[r];
        const bool glides = rule->takes & (TAKES_MOMENTUM | TAKES_BETAS);
        double w = 0, s[UPDATE_STATE_MAX] = {glides ? 0 : 4, 9};
        struct catchup c;
        catchup_prepare(&c, rule, &params, &both, 10, UINT64_C(1) << 50);
        cr_assert_eq(c.kind, CATCHUP_REPLAY, "%s", rule->name);
        catchup_element(&c, &w, s);
        cr_assert_eq(w, 0, "%s", rule->name);
        cr_assert_eq(s[0], rule == &rule_adagrad ? 4 : 0, "%s", rule->name);
        cr_assert_eq(s[1], rule->takes & TAKES_BETAS ? 0 : 9, "%s", rule->name);
    }
    double w = 0.5, s[UPDATE_STATE_MAX] = {0, 9};
    struct catchup c;
    catchup_prepare(&c, &rule_adam, &params, &none, 10, 20);
    catchup_element(&c, &w, s);
    cr_assert_eq(w, 0.5);
    cr_assert_float_eq(s[1], 9 * pow(0.999, 10), 1e-12);
}
