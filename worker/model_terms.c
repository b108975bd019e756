/* Regularizers and constraints of a trained model; see model_terms.h. Thread: any. */
#include "model_terms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "project.h"
#include "util.h"

static dp_err add_all(struct strengths *strengths, const char *option, const struct option_list *list, dp_error *err)
{
    dp_err e = DP_OK;
    for (size_t i = 0; !e && i < list->count; i++)
        e = strengths_add(strengths, option, list->values[i], err);
    return e;
}

dp_err model_terms_init(struct model_terms *terms, const struct option_list *l1, const struct option_list *l2,
                        const struct option_list *group_lasso, uint64_t group_size,
                        const struct option_list *constraint, dp_error *err)
{
    *terms = (struct model_terms){.regularizers = {.group_size = group_size}};
    dp_err e = add_all(&terms->regularizers.l1, "l1", l1, err);
    if (!e)
        e = add_all(&terms->regularizers.l2, "l2", l2, err);
    if (!e)
        e = add_all(&terms->regularizers.group, "group-lasso", group_lasso, err);
    for (size_t i = 0; !e && i < constraint->count; i++)
        e = constraints_add(&terms->constraints, constraint->values[i], err);
    if (e)
        model_terms_fini(terms);
    return e;
}

void model_terms_fini(struct model_terms *terms)
{
    constraints_fini(&terms->constraints);
}

bool model_terms_any(const struct model_terms *terms)
{
    const struct regularizers *r = &terms->regularizers;
    return r->l1.count || r->l2.count || r->group.count || terms->constraints.count;
}

static double violation(const struct constraints *constraints, const struct tensors *tensors, const float *theta)
{
    double squares = 0;
    for (uint32_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        double sums[CONSTRAINT_TERMS_MAX] = {0};
        for (uint32_t t = 0; t < tensors->count; t++) {
            const struct tensor *tensor = &tensors->list[t];
            uint64_t first = tensors_offset(tensors, t);
            if (c->mask >> t & 1)
                constraint_sums(c, first, constraint_unit(c, tensor), (size_t)tensor->elems, theta + first, sums);
        }
        squares += constraint_violation(c, sums);
    }
    return sqrt(squares);
}

/* One after the other, elements first: for sets that go together this is the projection on all. */
static bool project_one(const struct constraint *c, size_t n, size_t row, float *w)
{
    switch (c->kind) {
    case CONSTRAINT_NONNEG:
        kernels_get()->clamp(n, 0, INFINITY, w);
        return true;
    case CONSTRAINT_BOX:
        kernels_get()->clamp(n, (float)c->lo, (float)c->hi, w);
        return true;
    case CONSTRAINT_MAX_NORM:
        project_max_norm(n, row, c->arg, w);
        return true;
    case CONSTRAINT_UNIT_NORM:
        project_unit_norm(n, row, w);
        return true;
    case CONSTRAINT_L2_BALL:
        project_l2_ball(n, c->arg, w);
        return true;
    case CONSTRAINT_L1_BALL:
        project_l1_ball(n, c->arg, w);
        return true;
    case CONSTRAINT_SIMPLEX:
        project_simplex(n, c->arg, w);
        return true;
    case CONSTRAINT_SUM:
        project_sum(n, c->arg, w);
        return true;
    case CONSTRAINT_LINEAR:
        break;
    }
    return false;
}

static bool project_linear(const struct constraint *c, float *theta)
{
    const struct linear_row *row = &c->linear.rows[0];
    double dot = -row->bound;
    if (c->linear.count > 1)
        return false;
    for (size_t e = 0; e < row->count; e++)
        dot += row->value[e] * (double)theta[c->offset + row->index[e]];
    for (size_t e = 0; (dot > 0 || row->equality) && e < row->count; e++) {
        float *w = &theta[c->offset + row->index[e]];
        *w = (float)((double)*w - dot / row->squares * row->value[e]);
    }
    return true;
}

/* The tensors of a constraint side by side in `room`, projected, and put back. */
static bool project(const struct constraint *c, const struct tensors *tensors, float *theta, float *room)
{
    size_t n = 0, row = 1;
    if (c->kind == CONSTRAINT_LINEAR)
        return project_linear(c, theta);
    for (uint32_t t = 0; t < tensors->count; t++) {
        const struct tensor *tensor = &tensors->list[t];
        float *w = theta + tensors_offset(tensors, t);
        if (!(c->mask >> t & 1))
            continue;
        row = (size_t)constraint_unit(c, tensor);
        if (!constraint_is_global(c))
            (void)project_one(c, (size_t)tensor->elems, row, w);
        memcpy(room + n, w, (size_t)tensor->elems * sizeof *w);
        n += (size_t)tensor->elems;
    }
    if (!constraint_is_global(c))
        return true;
    (void)project_one(c, n, row, room);
    for (uint32_t t = 0; t < tensors->count; t++) {
        size_t elems = c->mask >> t & 1 ? (size_t)tensors->list[t].elems : 0;
        memcpy(theta + tensors_offset(tensors, t), room, elems * sizeof *room);
        room += elems;
    }
    return true;
}

/* moved = prox(theta - gradient of the smooth part), with a step of 1. */
static void descend(const struct tensors *tensors, const struct regular *regular, const float *theta,
                    const double *gradient, float *moved)
{
    for (uint32_t t = 0; t < tensors->count; t++) {
        uint64_t first = tensors_offset(tensors, t), end = first + tensors->list[t].elems;
        for (uint64_t i = first; i < end; i++)
            moved[i] = (float)((double)theta[i] * (1 - regular[t].l2) - gradient[i]);
        prox_uniform(&regular[t], 1, (size_t)(end - first), moved + first);
    }
}

static double stationarity(const struct model_terms *terms, const struct tensors *tensors,
                           const struct regular *regular, const float *theta, const double *gradient, float *moved,
                           float *room)
{
    bool can = true;
    double worst = 0;
    descend(tensors, regular, theta, gradient, moved);
    for (int whole = 0; whole < 2; whole++)
        for (uint32_t i = 0; i < terms->constraints.count; i++)
            if (constraint_is_global(&terms->constraints.list[i]) == (whole == 1))
                can &= project(&terms->constraints.list[i], tensors, moved, room);
    for (uint64_t i = 0; i < tensors_total(tensors); i++)
        worst = fmax(worst, fabs((double)theta[i] - (double)moved[i]));
    return can ? worst : NAN;
}

dp_err model_terms_measure(struct model_terms *terms, const struct tensors *tensors, const float *theta,
                           double *gradient, struct terms_result *ret_result, dp_error *err)
{
    struct regular regular[TENSOR_COUNT_MAX];
    struct terms_result result = {0};
    dp_err e = regularizers_resolve(&terms->regularizers, tensors, regular, err);
    if (!e)
        e = constraints_resolve(&terms->constraints, tensors, err);
    if (e)
        return e;
    AUTOFREE float *moved = mem_array((size_t)tensors_total(tensors), sizeof *moved);
    AUTOFREE float *room = mem_array((size_t)tensors_total(tensors), sizeof *room);
    if (!moved || !room)
        return dp_fail(err, DP_NOMEM, "out of memory for the regularizers and constraints");
    for (uint32_t t = 0; t < tensors->count; t++) {
        const float *w = theta + tensors_offset(tensors, t);
        struct regular_sums sums = regular_sums(&regular[t], (size_t)tensors->list[t].elems, w);
        result.regularizer += regular_value(&regular[t], &sums);
        result.zeros += (uint64_t)sums.zeros;
    }
    result.violation = violation(&terms->constraints, tensors, theta);
    result.stationarity = stationarity(terms, tensors, regular, theta, gradient, moved, room);
    *ret_result = result;
    return DP_OK;
}
