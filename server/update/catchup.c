/* Catching up; see catchup.h. Thread: any. */
#include "server/update/catchup.h"

#include <math.h>

bool catchup_possible(const struct update_rule *rule, const struct regular *regular)
{
    return !rule->layerwise && regular->group <= 0;
}

/* One step's matrix of a linear rule, g = 0. */
struct linear {
    double ww, wm, mw, mm;
};

static struct linear step_matrix(const struct update_rule *rule, const struct update_params *params,
                                 const struct regular *regular, double eta)
{
    bool decoupled = params->decay == DECAY_DECOUPLED;
    double l2 = decoupled ? 0 : regular->l2;
    double keep = decoupled ? 1 - update_effective_rate(rule, params, eta) * regular->l2 : 1;
    double beta = params->momentum;
    if (rule == &rule_sgd)
        return (struct linear){keep - eta * l2, 0, 0, 0};
    /* m' = beta m + l2 w */
    if (rule == &rule_momentum) /* w' = keep w - eta m' */
        return (struct linear){keep - eta * l2, -eta * beta, l2, beta};
    /* w' = keep w - eta (l2 w + beta m') */
    return (struct linear){keep - eta * l2 * (1 + beta), -eta * beta * beta, l2, beta};
}

/* a after b. */
static struct linear after(struct linear a, struct linear b)
{
    return (struct linear){
        a.ww * b.ww + a.wm * b.mw,
        a.ww * b.wm + a.wm * b.mm,
        a.mw * b.ww + a.mm * b.mw,
        a.mw * b.wm + a.mm * b.mm,
    };
}

/* The rate of the tensor at training step t. */
static double rate_at(const struct catchup *c, uint64_t t)
{
    return schedule_rate(&c->params->schedule, t);
}

static void prepare_linear(struct catchup *c)
{
    struct linear all = {1, 0, 0, 1};
    if (schedule_is_constant(&c->params->schedule, c->from, c->to)) {
        double eta = rate_at(c, c->from);
        struct linear square = step_matrix(c->rule, c->params, &c->regular, eta);
        for (uint64_t n = c->to - c->from; n; n >>= 1, square = after(square, square))
            if (n & 1)
                all = after(square, all);
    } else {
        for (uint64_t t = c->from; t < c->to; t++)
            all = after(step_matrix(c->rule, c->params, &c->regular, rate_at(c, t)), all);
    }
    c->kind = CATCHUP_LINEAR;
    c->ww = all.ww;
    c->wm = all.wm;
    c->mw = all.mw;
    c->mm = all.mm;
}

/* Gradient descent with L1: each step |w| = max(0, a|w| - eta l1), a = 1 - eta l2 >= 0. Once zero, it stays. */
static void prepare_shrink(struct catchup *c)
{
    double factor = 1, threshold = 0;
    for (uint64_t t = c->from; t < c->to; t++) {
        double eta = rate_at(c, t), a = 1 - eta * c->regular.l2;
        factor *= a;
        threshold = threshold * a + eta * c->regular.l1;
    }
    c->kind = CATCHUP_SHRINK;
    c->factor = factor;
    c->threshold = threshold;
}

/* Constant eta: |w| = a^n |w| - eta l1 (1 - a^n)/(1 - a). */
static void prepare_shrink_closed(struct catchup *c)
{
    double eta = rate_at(c, c->from), n = (double)(c->to - c->from);
    double fall = eta * c->regular.l2;
    c->kind = CATCHUP_SHRINK;
    c->factor = exp(n * log1p(-fall));
    c->threshold = fall == 0 ? n * eta * c->regular.l1 : c->regular.l1 / c->regular.l2 * -expm1(n * log1p(-fall));
}

static double sum_of_rates(const struct catchup *c)
{
    if (schedule_is_constant(&c->params->schedule, c->from, c->to))
        return (double)(c->to - c->from) * rate_at(c, c->from);
    double sum = 0;
    for (uint64_t t = c->from; t < c->to; t++)
        sum += rate_at(c, t);
    return sum;
}

/* Whether 1 - eta l2 stays positive, as it does for any step size that converges. */
static bool shrinks(const struct catchup *c)
{
    for (uint64_t t = c->from; t < c->to; t++) {
        if (rate_at(c, t) * c->regular.l2 >= 1)
            return false;
        if (schedule_is_constant(&c->params->schedule, t, c->to))
            break;
    }
    return true;
}

static void prepare_sgd_l1(struct catchup *c)
{
    if (!shrinks(c))
        return;
    if (schedule_is_constant(&c->params->schedule, c->from, c->to))
        prepare_shrink_closed(c);
    else
        prepare_shrink(c);
}

static void prepare_adaptive(struct catchup *c)
{
    if (c->regular.l2 > 0)
        return;
    if (c->rule == &rule_adagrad && c->regular.l1 > 0) {
        c->kind = CATCHUP_RATES;
        c->threshold = c->regular.l1 * sum_of_rates(c);
    } else if (c->rule == &rule_adagrad) {
        c->kind = CATCHUP_NOTHING;
    } else if (c->rule == &rule_rmsprop && c->regular.l1 <= 0) {
        c->kind = CATCHUP_FADE;
        c->factor = power(c->params->alpha, c->to - c->from);
    }
}

void catchup_prepare(struct catchup *c, const struct update_rule *rule, const struct update_params *params,
                     const struct regular *regular, uint64_t from, uint64_t to)
{
    *c = (struct catchup){
        .kind = CATCHUP_REPLAY, .rule = rule, .params = params, .regular = *regular, .from = from, .to = to};
    bool linear = rule == &rule_sgd || rule == &rule_momentum || rule == &rule_nesterov;
    if (from >= to)
        c->kind = CATCHUP_NOTHING;
    else if (rule == &rule_ftrl)
        c->kind = CATCHUP_FTRL;
    else if (linear && regular->l1 <= 0)
        prepare_linear(c);
    else if (rule == &rule_sgd)
        prepare_sgd_l1(c);
    else if (rule->adaptive)
        prepare_adaptive(c);
}

static double soft(double w, double a)
{
    double m = fabs(w) - a;
    return m <= 0 ? 0 : copysign(m, w);
}

/* One step of an adaptive rule, or of one with L1, on one element, in double; returns eta_e. */
static double replay_step(const struct catchup *c, uint64_t t, double eta, double u, double *w, double *s0, double *s1)
{
    const struct update_params *p = c->params;
    const struct update_rule *rule = c->rule;
    if (rule == &rule_adagrad || rule == &rule_rmsprop) {
        *s0 = rule == &rule_adagrad ? *s0 + u * u : p->alpha * *s0 + (1 - p->alpha) * u * u;
        double rate = eta / (sqrt(*s0) + p->eps);
        *w -= rate * u;
        return rate;
    }
    if (rule == &rule_adam || rule == &rule_adamw) {
        *s0 = p->beta1 * *s0 + (1 - p->beta1) * u;
        *s1 = p->beta2 * *s1 + (1 - p->beta2) * u * u;
        double rate = eta / (sqrt(*s1 / (1 - power(p->beta2, t + 1))) + p->eps);
        *w -= rate * *s0 / (1 - power(p->beta1, t + 1));
        return rate;
    }
    if (rule == &rule_sgd) {
        *w -= eta * u;
        return eta;
    }
    *s0 = p->momentum * *s0 + u;
    *w -= eta * (rule == &rule_nesterov ? u + p->momentum * *s0 : *s0);
    return update_effective_rate(rule, p, eta);
}

/* Whether nothing moves the element any more: neither regularization nor what its momentum still has. */
static bool at_rest(const struct catchup *c, double w, double s0)
{
    bool glides = c->rule->takes & (TAKES_MOMENTUM | TAKES_BETAS); /* s0 is a momentum */
    return (w == 0 || (c->regular.l1 <= 0 && c->regular.l2 <= 0)) && (!glides || s0 == 0);
}

/* The steps [t, to) of an element that is at rest: only second moments fade. */
static void rest(const struct catchup *c, uint64_t t, double *s0, double *s1)
{
    if (c->rule == &rule_rmsprop)
        *s0 *= power(c->params->alpha, c->to - t);
    else if (c->rule->takes & TAKES_BETAS)
        *s1 *= power(c->params->beta2, c->to - t);
}

static void replay(const struct catchup *c, double *w, double *s0, double *s1)
{
    bool decoupled = c->rule->decoupled || c->params->decay == DECAY_DECOUPLED;
    for (uint64_t t = c->from; t < c->to; t++) {
        if (at_rest(c, *w, *s0)) {
            rest(c, t, s0, s1);
            return;
        }
        double eta = rate_at(c, t);
        double u = decoupled ? 0 : c->regular.l2 * *w;
        if (decoupled)
            *w -= update_effective_rate(c->rule, c->params, eta) * c->regular.l2 * *w;
        double rate = replay_step(c, t, eta, u, w, s0, s1);
        *w = soft(*w, rate * c->regular.l1);
    }
}

static double ftrl_weight(const struct catchup *c, double z, double squares)
{
    double commits = (double)c->to, a = fabs(z) - commits * c->regular.l1, inv_alpha = 1 / c->params->schedule.lr;
    double below = (c->params->ftrl_beta + sqrt(squares)) * inv_alpha + commits * c->regular.l2;
    return a <= 0 ? 0 : -copysign(a, z) / below;
}

void catchup_element(const struct catchup *c, double *w, double state[UPDATE_STATE_MAX])
{
    double before = *w, *s0 = &state[0], *s1 = &state[1];
    switch (c->kind) {
    case CATCHUP_NOTHING:
        return;
    case CATCHUP_LINEAR:
        *w = c->ww * before + c->wm * *s0;
        *s0 = c->mw * before + c->mm * *s0;
        return;
    case CATCHUP_SHRINK:
        *w = soft(c->factor * before, c->threshold);
        return;
    case CATCHUP_RATES:
        *w = soft(before, c->threshold / (sqrt(*s0) + c->params->eps));
        return;
    case CATCHUP_FADE:
        *s0 *= c->factor;
        return;
    case CATCHUP_FTRL:
        *w = ftrl_weight(c, *s0 + state[2], *s1);
        return;
    case CATCHUP_REPLAY:
        replay(c, w, s0, s1);
        return;
    }
}

void catchup_row(const struct catchup *c, size_t n, float *w, float *const *state)
{
    uint32_t count = c->rule->state_count;
    for (size_t i = 0; i < n; i++) {
        double wi = (double)w[i], s[UPDATE_STATE_MAX] = {0};
        for (uint32_t k = 0; k < count; k++)
            s[k] = (double)state[k][i];
        catchup_element(c, &wi, s);
        w[i] = (float)wi;
        for (uint32_t k = 0; k < count; k++)
            state[k][i] = (float)s[k];
    }
}
