/* Learning-rate schedules: eta of a training step, a pure function of its number and, by ada-delay, of how late the
 * gradient is. Computed with +, -, *, / and sqrt
 * alone, so that every machine gets the same bits. Thread: any. */
#ifndef DP_SERVER_UPDATE_SCHEDULE_H
#define DP_SERVER_UPDATE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/history.h"

enum schedule_kind {
    SCHEDULE_CONSTANT,    /* lr */
    SCHEDULE_STEP,        /* lr * gamma^floor(t / every), torch's StepLR */
    SCHEDULE_EXPONENTIAL, /* lr * gamma^t, torch's ExponentialLR by steps */
    SCHEDULE_COSINE,    /* lr_min + (lr - lr_min) (1 + cos(pi t / T)) / 2, restarted after T, T*mult, T*mult^2 ... steps
                           (SGDR, Loshchilov & Hutter 2017) */
    SCHEDULE_INV_SQRT,  /* lr / sqrt(1 + decay t) (with decay = 1/warm-up: Vaswani et al. 2017) */
    SCHEDULE_INV_TIME,  /* lr / (1 + decay t) (Bottou 2010, with decay = lr lambda) */
    SCHEDULE_ONE_CYCLE, /* lr/div to lr over the first `peak` of T steps, then to lr/div/final_div, both along a cosine
                           (Smith & Topin 2018, torch's OneCycleLR) */
    SCHEDULE_ADA_DELAY, /* lr / (1 + decay sqrt(t + tau)), tau: the gradient's delay in steps. AdaDelay's 1/(L + c
                           sqrt(t + tau)) (Sra et al. 2016) with lr = 1/L and decay = c/L */
};
#define SCHEDULE_NAMES "constant|step|exponential|cosine|inv-sqrt|inv-time|one-cycle|ada-delay"

enum {
    SCHEDULE_CHANGES_MAX = 256, /* that any step in use may depend on: more than there are such steps */
};

struct schedule {
    enum schedule_kind kind;
    double lr;
    double lr_min;
    double gamma;
    double decay;
    double peak, div, final_div; /* one-cycle: torch's pct_start, div_factor, final_div_factor */
    uint64_t every;              /* step: T of StepLR */
    uint64_t period;             /* T in training steps after the warm-up, at least 1 */
    uint64_t period_mult;        /* at least 1 */
    uint64_t warmup;       /* W: eta = (t + 1)/W of the schedule's first value for t < W; the schedule starts at W */
    uint32_t change_count; /* `lr` was set while running: */
    struct schedule_change changes[SCHEDULE_CHANGES_MAX];
    struct schedule_periods periods; /* the last is `period` */
    struct schedule_past
        *past; /* of steps before changes[0].from; borrowed. NULL: rates of steps long ago are unused */
};

/* eta of training step t, for gradients without delay. */
double schedule_rate(const struct schedule *schedule, uint64_t t);
/* The same for a gradient computed `delay` steps of commits ago; the same bits at 0, and but by ada-delay. */
double schedule_rate_late(const struct schedule *schedule, uint64_t t, double delay);
/* The lr in force at step t: given at the start or set since. */
double schedule_lr(const struct schedule *schedule, uint64_t t);
/* lr is `lr` from step `from` on; later settings are taken back. False if there are too many changes. */
bool schedule_set(struct schedule *schedule, uint64_t from, double lr);
/* Whether it goes by `period`. */
bool schedule_is_periodic(const struct schedule *schedule);
/* `period` holds from training step `from` on, for which no other is kept, and what schedule->periods has before it.
 * False if there are too many. */
bool schedule_extend(struct schedule *schedule, uint64_t from);
/* No step before `oldest` is asked for any more: settings that those alone depend on are forgotten, or go to `past`.
 * False when out of memory, or the past is full: they stay then. */
bool schedule_forget(struct schedule *schedule, uint64_t oldest);
/* Adds settings that are later than those it has. False when out of memory, or it is full. */
bool schedule_past_add(struct schedule_past *past, const struct schedule_change *changes, uint32_t count);
void schedule_past_fini(struct schedule_past *past);
/* Whether eta is the same at all steps of [from, to). */
bool schedule_is_constant(const struct schedule *schedule, uint64_t from, uint64_t to);

/* x^n by squaring: the same bits everywhere, which libm's pow does not promise. */
double power(double x, uint64_t n);

#endif
