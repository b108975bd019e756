#include "tests/unit/support/optimum.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TERMS_MAX = OPTIMUM_SETS + 2, STEPS = 200000, CHECK_EVERY = 50 };

static const double CLOSE = 1e-11;

static double norm(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

static void shrink_l1(const struct optimum *p, double step, double *x)
{
    for (size_t i = 0; i < p->n; i++) {
        double a = step * p->l1[i];
        x[i] = x[i] > a ? x[i] - a : x[i] < -a ? x[i] + a : 0;
    }
}

static void shrink_groups(const struct optimum *p, double step, double *x)
{
    for (size_t at = 0; at < p->n; at += p->group_size) {
        double size = norm(p->group_size, x + at), keep = size > 0 ? fmax(0, 1 - step * p->group / size) : 0;
        for (size_t i = at; i < at + p->group_size; i++)
            x[i] *= keep;
    }
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Duchi et al. 2008. */
static double simplex_threshold(size_t n, const double *v, double s)
{
    double u[OPTIMUM_MAX], sum = 0, theta = 0;
    memcpy(u, v, n * sizeof *u);
    qsort(u, n, sizeof *u, descending);
    for (size_t j = 0; j < n; j++) {
        sum += u[j];
        if (u[j] > (sum - s) / (double)(j + 1))
            theta = (sum - s) / (double)(j + 1);
    }
    return theta;
}

static void project_l1(size_t n, double r, double *x)
{
    double size[OPTIMUM_MAX], sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += size[i] = fabs(x[i]);
    double theta = sum > r ? simplex_threshold(n, size, r) : 0;
    for (size_t i = 0; i < n; i++)
        x[i] = copysign(fmax(size[i] - theta, 0), x[i]);
}

static void project_linear(const struct optimum_set *s, size_t n, const double *a, double *x)
{
    double gap = -s->arg, squares = 0;
    for (size_t i = 0; i < n; i++) {
        gap += a[i] * x[i];
        squares += a[i] * a[i];
    }
    for (size_t i = 0; (s->equality || gap > 0) && i < n; i++)
        x[i] -= gap / squares * a[i];
}

static void project_balls(size_t n, size_t row, double r, double *x)
{
    for (size_t at = 0; at < n; at += row) {
        double size = norm(row, x + at);
        for (size_t i = at; size > r && i < at + row; i++)
            x[i] *= r / size;
    }
}

static void project(const struct optimum_set *s, size_t n, double *x)
{
    n = s->count ? s->count : n;
    if (strcmp(s->kind, "nonneg") == 0 || strcmp(s->kind, "box") == 0) {
        for (size_t i = 0; i < n; i++)
            x[i] = fmin(fmax(x[i], s->lo), s->hi);
    } else if (strcmp(s->kind, "max-norm") == 0 || strcmp(s->kind, "l2-ball") == 0) {
        project_balls(n, s->row ? s->row : n, s->arg, x);
    } else if (strcmp(s->kind, "l1-ball") == 0) {
        project_l1(n, s->arg, x);
    } else if (strcmp(s->kind, "simplex") == 0) {
        double theta = simplex_threshold(n, x, s->arg);
        for (size_t i = 0; i < n; i++)
            x[i] = fmax(x[i] - theta, 0);
    } else {
        assert(strcmp(s->kind, "linear") == 0);
        project_linear(s, n, s->linear, x);
    }
}

/* Proximal step of term k: 0 is |.|, 1 groups, then the sets. */
static void prox(const struct optimum *p, size_t k, double step, double *x)
{
    if (k == 0)
        shrink_l1(p, step, x);
    else if (k == 1 && p->group > 0)
        shrink_groups(p, step, x);
    else if (k > 1)
        project(&p->sets[k - 2], p->n, x);
}

/* l of a = l l'. */
static void cholesky(size_t n, double a[OPTIMUM_MAX][OPTIMUM_MAX])
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++) {
            double sum = a[i][j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i][k] * a[j][k];
            a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
        }
}

static void solve(size_t n, double l[OPTIMUM_MAX][OPTIMUM_MAX], double *x)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            x[i] -= l[i][k] * x[k];
        x[i] /= l[i][i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++)
            x[i] -= l[k][i] * x[k];
        x[i] /= l[i][i];
    }
}

/* rho (w + u_k - z_k) is a subgradient of term k at z_k. */
static double certificate(const struct optimum *p, size_t terms, double rho, const double *w,
                          double z[TERMS_MAX][OPTIMUM_MAX], double u[TERMS_MAX][OPTIMUM_MAX])
{
    double worst = 0;
    for (size_t i = 0; i < p->n; i++) {
        double sum = -p->b[i];
        for (size_t j = 0; j < p->n; j++)
            sum += p->h[i][j] * w[j];
        for (size_t k = 0; k < terms; k++) {
            sum += rho * u[k][i];
            worst = fmax(worst, fabs(z[k][i] - w[i]));
        }
        worst = fmax(worst, fabs(sum));
    }
    return worst;
}

double optimum_find(const struct optimum *p, double *w)
{
    static double l[OPTIMUM_MAX][OPTIMUM_MAX];
    double z[TERMS_MAX][OPTIMUM_MAX] = {{0}}, u[TERMS_MAX][OPTIMUM_MAX] = {{0}}, rho = 0, worst = INFINITY;
    size_t terms = p->set_count + 2;
    assert(p->n <= OPTIMUM_MAX && p->set_count <= OPTIMUM_SETS);
    for (size_t i = 0; i < p->n; i++)
        rho += p->h[i][i] / (double)p->n / 2;
    memcpy(l, p->h, sizeof l);
    for (size_t i = 0; i < p->n; i++)
        l[i][i] += rho * (double)terms;
    cholesky(p->n, l);
    for (int step = 1; step <= STEPS && worst > CLOSE; step++) {
        for (size_t i = 0; i < p->n; i++) {
            w[i] = p->b[i];
            for (size_t k = 0; k < terms; k++)
                w[i] += rho * (z[k][i] - u[k][i]);
        }
        solve(p->n, l, w);
        for (size_t k = 0; k < terms; k++) {
            for (size_t i = 0; i < p->n; i++)
                z[k][i] = w[i] + u[k][i];
            prox(p, k, 1 / rho, z[k]);
            for (size_t i = 0; i < p->n; i++)
                u[k][i] += w[i] - z[k][i];
        }
        if (step % CHECK_EVERY == 0)
            worst = certificate(p, terms, rho, w, z, u);
    }
    return worst;
}

double optimum_value(const struct optimum *p, const double *w)
{
    double value = 0;
    for (size_t i = 0; i < p->n; i++) {
        value += p->l1[i] * fabs(w[i]) - p->b[i] * w[i];
        for (size_t j = 0; j < p->n; j++)
            value += 0.5 * w[i] * p->h[i][j] * w[j];
    }
    for (size_t at = 0; p->group > 0 && at < p->n; at += p->group_size)
        value += p->group * norm(p->group_size, w + at);
    return value;
}
