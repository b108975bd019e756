/* Regularizers and projected constraints of a tensor together: the proximal operator of their sum,
 *
 *   argmin over x of sum (x_i - v_i)^2 / (2 r_i) + l1 |x|_1 + group sum |x_g|   with x within the constraints,
 *
 * with r_i the step size of the coordinate: one for all under sgd, momentum and nesterov, each its own under rules that
 * scale steps by coordinate. Projecting without regard to r would end elsewhere than at the optimum.
 *
 * A function of an element, a group or a row alone is applied in place (joint_here). A constraint on a whole
 * vector has one multiplier, which is searched for in rounds: each needs sums over all elements (joint_sums), from
 * which the next point follows (joint_round); then each run of elements is moved (joint_apply). Sources: KKT conditions
 * of the problem above; S is the soft threshold, mu the multiplier, c the constraint's coefficient (1, or that of the
 * row).
 *
 *              | L1                               | groups, one r             | groups, r of each
 *   -----------+----------------------------------+---------------------------+-----------------------
 *   nonneg     | clip after S                     | shrink after the clip     | shrink after the clip
 *   box        | clip after S                     | |x_g| = s by its equation | |x_g| = s by its equation
 *   max-norm   | by row, after S                  | by row, after the shrink; | refused
 *              |                                  | groups of rows: refused   |
 *   unit-norm  | refused: it is not convex; so is unit-norm with r of each
 *   l2-ball    | S(v)/(1 + r mu)                  | shrink(v)/(1 + r mu)      | refused
 *   l1-ball    | S(S(v), r mu)                    | shrink(S(S(v), r mu))     | refused
 *   simplex    | max(v - r mu, 0): L1 is constant | shrink(max(v - r mu, 0))  | refused
 *              | but for what tensors differ in   |                           |
 *   sum, one   | S(v - r mu c, r l1)              | shrink(S(v - r mu c))     | refused
 *   linear row |                                  |                           |
 *
 * L1 and groups on one tensor: S first, then the shrink. Nonneg beside a ball: the clip before either. L2 is the
 * gradient's or the rule's own, and is part of neither. Thread: any. */
#ifndef DP_COMMON_TERMS_JOINT_H
#define DP_COMMON_TERMS_JOINT_H

#include "common/terms/constraint.h"
#include "common/terms/regularize.h"

/* The terms of one tensor. */
struct joint {
    const struct constraints *constraints;
    uint32_t tensor;
    uint64_t row;         /* elements of a row */
    struct regular here;  /* the part that joint_here applies */
    struct regular later; /* the part that is left to the search */
    float lo, hi;         /* interval of its elements */
    bool clips;           /* it is not the whole line */
    bool has_rows;        /* rows are constrained */
};
/* `regular` of all tensors. Borrows constraints, which are resolved. */
struct joint joint_of(const struct constraints *constraints, const struct tensors *tensors,
                      const struct regular *regular, uint32_t tensor);

/* Step sizes of a run of elements. */
struct joint_steps {
    const float *each; /* of each element; NULL: `all` */
    double all;
    bool none; /* the step size of the commit is 0: `each` and `all` are those of 1, and regularizers have no effect */
};
/* A run of whole rows and groups. */
void joint_here(const struct joint *joint, const struct joint_steps *steps, size_t n, float *w);

/* Whether something of the regularizers is left to the search for this constraint's multiplier. */
bool joint_is_left(const struct constraints *constraints, const struct tensors *tensors, const struct regular *regular,
                   uint32_t constraint);

#endif
