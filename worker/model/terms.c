/* Regularizers and constraints of a trained model; see terms.h. Thread: any. */
#include "worker/model/terms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/kernels/kernels.h"
#include "common/terms/constraint_text.h"
#include "common/terms/joint.h"
#include "common/terms/joint_check.h"
#include "common/terms/joint_whole.h"
#include "common/terms/regularize_text.h"

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

/* A step along the gradient also moves a point of a sphere away from it, by how much says nothing of where it is least:
 * takes that part out of moved = theta - gradient, row by row. */
static void keep_norms(const struct tensor *tensor, const float *theta, float *moved)
{
    size_t row = (size_t)tensor_row_elems(tensor);
    for (size_t at = 0; at < tensor->elems; at += row) {
        double squares = kernels_get()->sum_squares(row, theta + at);
        double along = squares > 0 ? 1 - kernels_get()->dot(row, theta + at, moved + at) / squares : 0;
        for (size_t i = at; i < at + row; i++)
            moved[i] = (float)((double)moved[i] + along * (double)theta[i]);
    }
}

/* moved = theta - gradient of the smooth part. */
static void descend(const struct model_terms *terms, const struct tensors *tensors, const struct regular *regular,
                    const float *theta, const double *gradient, float *moved)
{
    for (uint32_t t = 0; t < tensors->count; t++) {
        uint64_t first = tensors_offset(tensors, t), end = first + tensors->list[t].elems;
        for (uint64_t i = first; i < end; i++)
            moved[i] = (float)((double)theta[i] * (1 - regular[t].l2) - gradient[i]);
        for (uint32_t i = 0; i < terms->constraints.count; i++)
            if (terms->constraints.list[i].kind == CONSTRAINT_UNIT_NORM && (terms->constraints.list[i].mask >> t & 1))
                keep_norms(&tensors->list[t], theta + first, moved + first);
    }
}

/* With a step of 1. */
static double stationarity(const struct model_terms *terms, const struct tensors *tensors,
                           const struct regular *regular, const float *theta, const double *gradient, float *moved)
{
    double worst = 0;
    if (constraints_check(&terms->constraints, NULL) || joint_check(&terms->constraints, tensors, regular, NULL, NULL))
        return NAN;
    descend(terms, tensors, regular, theta, gradient, moved);
    joint_prox(&terms->constraints, tensors, regular, 1, moved);
    for (uint64_t i = 0; i < tensors_total(tensors) && !isnan(worst); i++) {
        double far = fabs((double)theta[i] - (double)moved[i]);
        worst = far <= worst ? worst : far;
    }
    return worst;
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
    if (!moved)
        return dp_fail(err, DP_NOMEM, "out of memory for the regularizers and constraints");
    for (uint32_t t = 0; t < tensors->count; t++) {
        const float *w = theta + tensors_offset(tensors, t);
        struct regular_sums sums = regular_sums(&regular[t], (size_t)tensors->list[t].elems, w);
        result.regularizer += regular_value(&regular[t], &sums);
        result.zeros += (uint64_t)sums.zeros;
    }
    result.violation = violation(&terms->constraints, tensors, theta);
    result.stationarity = stationarity(terms, tensors, regular, theta, gradient, moved);
    *ret_result = result;
    return DP_OK;
}
