#include "reference.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct update_params reference_params(const struct update_rule *rule, double lr)
{
    return (struct update_params){
        .schedule = {.kind = SCHEDULE_CONSTANT, .lr = lr, .every = 1, .period = 1, .period_mult = 1},
        .momentum = 0.9,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .alpha = 0.99,
        .eps = rule->eps,
        .ftrl_beta = 1,
        .trust = 0.001,
    };
}

void reference_start(struct reference *r, const char *rule, const struct update_params *params,
                     const struct regular *regular, size_t n, const float *w)
{
    assert(n <= REFERENCE_MAX);
    memset(r, 0, sizeof *r);
    r->rule = rule;
    r->params = params;
    r->regular = *regular;
    r->n = n;
    for (size_t i = 0; i < n; i++) {
        r->w[i] = w[i];
        if (strcmp(rule, "ftrl") == 0)
            r->a[i] = -r->w[i] * params->ftrl_beta / params->schedule.lr;
    }
}

static double norm(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

static double soft(double x, double a)
{
    return x > a ? x - a : x < -a ? x + a : 0;
}

static void ftrl(struct reference *r, const double *g)
{
    double alpha = r->params->schedule.lr, t = (double)r->t + 1;
    for (size_t i = 0; i < r->n; i++) {
        double gi = g ? g[i] : 0;
        double sigma = (sqrt(r->b[i] + gi * gi) - sqrt(r->b[i])) / alpha;
        r->a[i] += gi - sigma * r->w[i];
        r->b[i] += gi * gi;
        double z = r->a[i];
        r->w[i] = -soft(z, t * r->regular.l1) / ((r->params->ftrl_beta + sqrt(r->b[i])) / alpha + t * r->regular.l2);
    }
}

static void lars(struct reference *r, const double *g)
{
    double wn = norm(r->n, r->w), gn = norm(r->n, g), l2 = r->regular.l2;
    double ratio = wn > 0 && gn > 0 ? r->params->trust * wn / (gn + l2 * wn) : 1;
    double eta = schedule_rate(&r->params->schedule, r->t);
    for (size_t i = 0; i < r->n; i++) {
        r->a[i] = r->params->momentum * r->a[i] + eta * ratio * (g[i] + l2 * r->w[i]);
        r->w[i] -= r->a[i];
    }
}

static void lamb(struct reference *r, const double *g)
{
    const struct update_params *p = r->params;
    double t = (double)r->t + 1, u[REFERENCE_MAX] = {0};
    for (size_t i = 0; i < r->n; i++) {
        r->a[i] = p->beta1 * r->a[i] + (1 - p->beta1) * g[i];
        r->b[i] = p->beta2 * r->b[i] + (1 - p->beta2) * g[i] * g[i];
        double m = r->a[i] / (1 - pow(p->beta1, t)), v = r->b[i] / (1 - pow(p->beta2, t));
        u[i] = m / (sqrt(v) + p->eps) + r->regular.l2 * r->w[i];
    }
    double wn = norm(r->n, r->w), un = norm(r->n, u), ratio = wn > 0 && un > 0 ? wn / un : 1;
    for (size_t i = 0; i < r->n; i++)
        r->w[i] -= schedule_rate(&p->schedule, r->t) * ratio * u[i];
}

/* One element of the other rules; returns the step size that regularizers go by. */
static double element(struct reference *r, size_t i, double u, double eta)
{
    const struct update_params *p = r->params;
    double t = (double)r->t + 1;
    if (strcmp(r->rule, "sgd") == 0) {
        r->w[i] -= eta * u;
        return eta;
    }
    if (strcmp(r->rule, "momentum") == 0 || strcmp(r->rule, "nesterov") == 0) {
        r->a[i] = p->momentum * r->a[i] + u;
        r->w[i] -= eta * (strcmp(r->rule, "nesterov") == 0 ? u + p->momentum * r->a[i] : r->a[i]);
        return eta / (1 - p->momentum);
    }
    if (strcmp(r->rule, "adagrad") == 0) {
        r->a[i] += u * u;
        r->w[i] -= eta / (sqrt(r->a[i]) + p->eps) * u;
        return eta / (sqrt(r->a[i]) + p->eps);
    }
    if (strcmp(r->rule, "rmsprop") == 0) {
        r->a[i] = p->alpha * r->a[i] + (1 - p->alpha) * u * u;
        r->w[i] -= eta / (sqrt(r->a[i]) + p->eps) * u;
        return eta / (sqrt(r->a[i]) + p->eps);
    }
    r->a[i] = p->beta1 * r->a[i] + (1 - p->beta1) * u;
    r->b[i] = p->beta2 * r->b[i] + (1 - p->beta2) * u * u;
    double rate = eta / (sqrt(r->b[i] / (1 - pow(p->beta2, t))) + p->eps);
    r->w[i] -= rate * r->a[i] / (1 - pow(p->beta1, t));
    return rate;
}

static void plain(struct reference *r, const double *g)
{
    double eta = schedule_rate(&r->params->schedule, r->t), l2 = r->regular.l2;
    bool decoupled = strcmp(r->rule, "adamw") == 0 || r->params->decay == DECAY_DECOUPLED;
    bool heavy = strcmp(r->rule, "momentum") == 0 || strcmp(r->rule, "nesterov") == 0;
    for (size_t i = 0; i < r->n; i++) {
        double u = (g ? g[i] : 0) + (decoupled ? 0 : l2 * r->w[i]);
        if (decoupled)
            r->w[i] *= 1 - (heavy ? eta / (1 - r->params->momentum) : eta) * l2;
        double rate = element(r, i, u, eta);
        r->w[i] = soft(r->w[i], rate * r->regular.l1);
    }
}

void reference_step(struct reference *r, const double *g)
{
    if (strcmp(r->rule, "ftrl") == 0)
        ftrl(r, g);
    else if (strcmp(r->rule, "lars") == 0)
        lars(r, g);
    else if (strcmp(r->rule, "lamb") == 0)
        lamb(r, g);
    else
        plain(r, g);
    r->t++;
}

double reference_distance(const struct reference *r, const float *got)
{
    double sum = 0;
    for (size_t i = 0; i < r->n; i++)
        sum += (got[i] - r->w[i]) * (got[i] - r->w[i]);
    return sqrt(sum) / norm(r->n, r->w);
}
