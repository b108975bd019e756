/* Constraints: sums, violations, penalties and multipliers; see constraint.h. Reading them is constraint_text.c's.
 * Thread: any. */
#include "common/terms/constraint.h"

#include <math.h>

#include "common/base/util.h"
#include "common/kernels/kernels.h"

bool constraint_is_global(const struct constraint *c)
{
    return constraint_term_count(c) > 0;
}

uint64_t constraint_unit(const struct constraint *c, const struct tensor *tensor)
{
    if (c->kind != CONSTRAINT_MAX_NORM && c->kind != CONSTRAINT_UNIT_NORM)
        return 1;
    return tensor_row_elems(tensor);
}

uint32_t constraint_term_count(const struct constraint *c)
{
    switch (c->kind) {
    case CONSTRAINT_NONNEG:
    case CONSTRAINT_BOX:
    case CONSTRAINT_MAX_NORM:
    case CONSTRAINT_UNIT_NORM:
        return 0;
    case CONSTRAINT_LINEAR:
        return c->linear.count;
    default:
        return 1;
    }
}

uint32_t constraint_sum_count(const struct constraint *c)
{
    return c->kind == CONSTRAINT_SIMPLEX ? 2 : MAX(constraint_term_count(c), 1u);
}

static double square(double x)
{
    return x * x;
}

/* A bound of a box as the projection has it: what that has put there is neither outside nor pulled. */
static double box_bound(double bound)
{
    return (double)(float)bound;
}

static double sum_outside(double lo, double hi, size_t n, const float *w)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double v = (double)w[i];
        sum += v < lo ? square(lo - v) : v > hi ? square(v - hi) : 0;
    }
    return sum;
}

static double sum_row_gaps(const struct constraint *c, size_t row, size_t n, const float *w)
{
    double sum = 0;
    for (size_t at = 0; at < n; at += row) {
        double norm = sqrt(kernels_get()->sum_squares(row, w + at));
        if (c->kind == CONSTRAINT_UNIT_NORM)
            sum += square(norm - 1);
        else if (norm > c->arg)
            sum += square(norm - c->arg);
    }
    return sum;
}

static double sum_magnitudes(size_t n, const float *w)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)w[i]);
    return sum;
}

size_t linear_row_find(const struct linear_row *row, uint64_t at)
{
    size_t low = 0, high = row->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (row->index[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static double row_dot(const struct linear_row *row, uint64_t at, size_t n, const float *w)
{
    double sum = 0;
    for (size_t e = linear_row_find(row, at); e < row->count && row->index[e] < at + n; e++)
        sum += row->value[e] * (double)w[row->index[e] - at];
    return sum;
}

void constraint_sums(const struct constraint *c, uint64_t first, uint64_t row, size_t n, const float *w, double *sums)
{
    switch (c->kind) {
    case CONSTRAINT_NONNEG:
        sums[0] += sum_outside(0, INFINITY, n, w);
        break;
    case CONSTRAINT_BOX:
        sums[0] += sum_outside(box_bound(c->lo), box_bound(c->hi), n, w);
        break;
    case CONSTRAINT_MAX_NORM:
    case CONSTRAINT_UNIT_NORM:
        sums[0] += sum_row_gaps(c, (size_t)row, n, w);
        break;
    case CONSTRAINT_L2_BALL:
        sums[0] += kernels_get()->sum_squares(n, w);
        break;
    case CONSTRAINT_L1_BALL:
        sums[0] += sum_magnitudes(n, w);
        break;
    case CONSTRAINT_SIMPLEX:
        sums[1] += sum_outside(0, INFINITY, n, w);
        sums[0] += kernels_get()->sum(n, w);
        break;
    case CONSTRAINT_SUM:
        sums[0] += kernels_get()->sum(n, w);
        break;
    case CONSTRAINT_LINEAR:
        for (uint32_t r = 0; r < c->linear.count; r++)
            sums[r] += row_dot(&c->linear.rows[r], first - c->offset, n, w);
        break;
    }
}

bool constraint_term_is_equality(const struct constraint *c, uint32_t term)
{
    if (c->kind == CONSTRAINT_LINEAR)
        return c->linear.rows[term].equality;
    return c->kind == CONSTRAINT_SIMPLEX || c->kind == CONSTRAINT_SUM;
}

void constraint_terms(const struct constraint *c, const double *sums, double *ret_terms)
{
    switch (c->kind) {
    case CONSTRAINT_L2_BALL:
        ret_terms[0] = sqrt(sums[0]) - c->arg;
        break;
    case CONSTRAINT_L1_BALL:
    case CONSTRAINT_SIMPLEX:
    case CONSTRAINT_SUM:
        ret_terms[0] = sums[0] - c->arg;
        break;
    case CONSTRAINT_LINEAR:
        for (uint32_t r = 0; r < c->linear.count; r++)
            ret_terms[r] = sums[r] - c->linear.rows[r].bound;
        break;
    default:
        break;
    }
}

double constraint_violation(const struct constraint *c, const double *sums)
{
    if (!constraint_is_global(c))
        return sums[0];
    double terms[CONSTRAINT_TERMS_MAX] = {0}, sum = c->kind == CONSTRAINT_SIMPLEX ? sums[1] : 0;
    constraint_terms(c, sums, terms);
    for (uint32_t i = 0; i < constraint_term_count(c); i++)
        if (constraint_term_is_equality(c, i) || terms[i] > 0)
            sum += square(terms[i]);
    return sum;
}

static void pull_inside(double lo, double hi, double beta, size_t n, const float *w, float *g)
{
    for (size_t i = 0; i < n; i++) {
        double v = (double)w[i], out = v < lo ? v - lo : v > hi ? v - hi : 0;
        g[i] = g[i] + (float)(beta * out);
    }
}

static void pull_row(const struct linear_row *row, uint64_t at, size_t n, double weight, float *g)
{
    for (size_t e = linear_row_find(row, at); weight != 0 && e < row->count && row->index[e] < at + n; e++)
        g[row->index[e] - at] += (float)(weight * row->value[e]);
}

/* g += a, or a with the sign of w. */
static void pull_all(double a, bool signs, size_t n, const float *w, float *g)
{
    float up = (float)a;
    for (size_t i = 0; a != 0 && i < n; i++)
        g[i] = g[i] + (!signs ? up : w[i] > 0 ? up : w[i] < 0 ? -up : 0);
}

void constraint_pull(const struct constraint *c, uint64_t first, size_t n, const float *w, const double *sums,
                     const double *weights, double beta, float *g)
{
    switch (c->kind) {
    case CONSTRAINT_NONNEG:
        pull_inside(0, INFINITY, beta, n, w, g);
        break;
    case CONSTRAINT_BOX:
        pull_inside(box_bound(c->lo), box_bound(c->hi), beta, n, w, g);
        break;
    case CONSTRAINT_L2_BALL:
        if (weights[0] != 0 && sums[0] > 0)
            kernels_get()->axpy(n, (float)(weights[0] / sqrt(sums[0])), w, g);
        break;
    case CONSTRAINT_L1_BALL:
        pull_all(weights[0], true, n, w, g);
        break;
    case CONSTRAINT_SIMPLEX:
        pull_inside(0, INFINITY, beta, n, w, g);
        pull_all(weights[0], false, n, w, g);
        break;
    case CONSTRAINT_SUM:
        pull_all(weights[0], false, n, w, g);
        break;
    case CONSTRAINT_LINEAR:
        for (uint32_t r = 0; r < c->linear.count; r++)
            pull_row(&c->linear.rows[r], first - c->offset, n, weights[r], g);
        break;
    case CONSTRAINT_MAX_NORM:
    case CONSTRAINT_UNIT_NORM:
        break; /* projected only */
    }
}

void multipliers_start(struct multipliers *m, const struct constraints *constraints)
{
    *m = (struct multipliers){0};
    for (uint32_t i = 0; i < constraints->count; i++) {
        m->rho[i] = constraints->beta;
        m->last[i] = INFINITY;
    }
}

static double held_weight(const struct multipliers *m, const struct constraint *c, uint32_t i, uint32_t term,
                          uint32_t at, const double *terms)
{
    double weight = m->mu[at] + m->rho[i] * terms[at];
    return constraint_term_is_equality(c, term) || weight > 0 ? weight : 0;
}

void multipliers_weights(const struct multipliers *m, const struct constraints *constraints, const double *terms,
                         double *ret_weights)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        for (uint32_t term = 0; term < constraint_term_count(c); term++, at++)
            ret_weights[at] = held_weight(m, c, i, term, at, terms);
    }
}

void multipliers_update(struct multipliers *m, const struct constraints *constraints, const double *terms)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        double squares = 0;
        for (uint32_t term = 0; term < constraint_term_count(c); term++, at++) {
            if (constraint_term_is_equality(c, term) || terms[at] > 0)
                squares += square(terms[at]);
            m->mu[at] = held_weight(m, c, i, term, at, terms);
        }
        double norm = sqrt(squares);
        if (norm > constraints->tolerance && norm > m->last[i] / 4)
            m->rho[i] = fmin(2 * m->rho[i], constraints->rho_max);
        m->last[i] = norm;
    }
}
