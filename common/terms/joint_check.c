/* Pairs of regularizers, projected constraints and rules; the table is in joint.h. Thread: head, worker. */
#include "common/terms/joint_check.h"

#include <inttypes.h>

#include "common/terms/constraint_text.h"

/* Rules that scale steps by coordinate, `rule`: what has no projection in their metric. */
static dp_err check_rule(const struct constraint *c, const char *tensor, bool groups, const char *rule, dp_error *err)
{
    if (c->kind == CONSTRAINT_UNIT_NORM)
        return dp_fail(
            err, DP_USAGE,
            "option --constraint unit-norm: %s scales steps by coordinate, and with that the nearest point of "
            "a sphere is none that training could end at; use sgd, momentum or nesterov, or max-norm",
            rule);
    if (groups && c->kind != CONSTRAINT_NONNEG && c->kind != CONSTRAINT_BOX)
        return dp_fail(err, DP_USAGE,
                       "options --group-lasso and --constraint %s on tensor '%s': %s scales steps by coordinate, and "
                       "with that their proximal step has no closed form; use sgd, momentum or nesterov",
                       constraint_name(c->kind), tensor, rule);
    return DP_OK;
}

static dp_err check_pair(const struct constraint *c, const struct tensor *tensor, const struct regular *regular,
                         dp_error *err)
{
    bool unit = c->kind == CONSTRAINT_UNIT_NORM, groups = regular->group > 0;
    if (unit && (regular->l1 > 0 || groups))
        return dp_fail(err, DP_USAGE,
                       "options --%s and --constraint unit-norm on tensor '%s': rows of norm 1 are no convex set, so "
                       "that training would end at points that depend on the learning rate; use max-norm",
                       groups ? "group-lasso" : "l1", tensor->name);
    uint64_t row = tensor_row_elems(tensor);
    if (c->kind == CONSTRAINT_MAX_NORM && groups && regular->group_size > row)
        return dp_fail(err, DP_USAGE,
                       "options --group-lasso and --constraint max-norm on tensor '%s': projecting rows of %" PRIu64
                       " elements after shrinking groups of %" PRIu64
                       " is not the proximal step of both; use a --group-size within a row, or l2-ball",
                       tensor->name, row, regular->group_size);
    return DP_OK;
}

dp_err joint_check(const struct constraints *constraints, const struct tensors *tensors, const struct regular *regular,
                   const char *rule, dp_error *err)
{
    dp_err e = DP_OK;
    for (uint32_t i = 0; constraints->method == METHOD_PROJECT && i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        for (uint32_t t = 0; !e && t < tensors->count; t++) {
            if (!(c->mask >> t & 1))
                continue;
            e = check_pair(c, &tensors->list[t], &regular[t], err);
            if (!e && rule)
                e = check_rule(c, tensors->list[t].name, regular[t].group > 0, rule, err);
        }
    }
    return e;
}
