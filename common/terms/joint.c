/* Regularizers and constraints applied to elements, groups and rows; see joint.h. Thread: any. */
#include "common/terms/joint.h"

#include <math.h>

#include "common/kernels/kernels.h"
#include "common/terms/project.h"
#include "common/terms/root.h"

static bool is_whole(const struct constraint *c, uint32_t tensor)
{
    return (c->mask >> tensor & 1) && constraint_is_global(c);
}

/* The least L1 of the tensors that a constraint is on: what all of them have in common. */
static double common_l1(const struct constraint *c, const struct tensors *tensors, const struct regular *regular)
{
    double least = INFINITY;
    for (uint32_t t = 0; t < tensors->count; t++)
        if (c->mask >> t & 1)
            least = fmin(least, regular[t].l1);
    return least;
}

static bool leaves_l1(const struct constraint *c)
{
    return c->kind == CONSTRAINT_SUM || c->kind == CONSTRAINT_SIMPLEX || c->kind == CONSTRAINT_LINEAR;
}

static void leave(struct joint *joint, const struct constraint *c, const struct tensors *tensors,
                  const struct regular *regular)
{
    if (leaves_l1(c)) {
        joint->later.l1 = joint->here.l1;
        joint->here.l1 = 0;
    }
    if (c->kind == CONSTRAINT_SIMPLEX)
        joint->later.l1 -= common_l1(c, tensors, regular);
    if (c->kind != CONSTRAINT_L2_BALL) {
        joint->later.group = joint->here.group;
        joint->here.group = 0;
    }
}

struct joint joint_of(const struct constraints *constraints, const struct tensors *tensors,
                      const struct regular *regular, uint32_t tensor)
{
    struct joint joint = {.constraints = constraints,
                          .tensor = tensor,
                          .row = tensor_row_elems(&tensors->list[tensor]),
                          .here = regular[tensor],
                          .later = {.group_size = regular[tensor].group_size},
                          .lo = -INFINITY,
                          .hi = INFINITY};
    for (uint32_t i = 0; constraints->method == METHOD_PROJECT && i < constraints->count; i++) {
        const struct constraint *c = &constraints->list[i];
        if (!(c->mask >> tensor & 1))
            continue;
        joint.has_rows |= c->kind == CONSTRAINT_MAX_NORM || c->kind == CONSTRAINT_UNIT_NORM;
        if (c->kind == CONSTRAINT_NONNEG || c->kind == CONSTRAINT_BOX) {
            bool box = c->kind == CONSTRAINT_BOX;
            joint.lo = fmaxf(joint.lo, box ? (float)c->lo : 0);
            joint.hi = fminf(joint.hi, box ? (float)c->hi : INFINITY);
            joint.clips = true;
        }
        if (is_whole(c, tensor))
            leave(&joint, c, tensors, regular);
    }
    return joint;
}

bool joint_is_left(const struct constraints *constraints, const struct tensors *tensors, const struct regular *regular,
                   uint32_t constraint)
{
    const struct constraint *c = &constraints->list[constraint];
    for (uint32_t t = 0; t < tensors->count; t++) {
        struct joint joint = joint_of(constraints, tensors, regular, t);
        if (is_whole(c, t) && (joint.later.l1 > 0 || joint.later.group > 0))
            return true;
    }
    return false;
}

/* ---- groups within an interval ---- */

/* An interval around which a ray from 0 leaves only at 0: clipping it first is right. */
static bool is_cone(const struct joint *joint)
{
    return (joint->lo == 0 || joint->lo == -INFINITY) && (joint->hi == 0 || joint->hi == INFINITY);
}

static double clipped(const struct joint *joint, double x)
{
    double lo = (double)joint->lo, hi = (double)joint->hi;
    return x < lo ? lo : x > hi ? hi : x; /* NaN stays */
}

static double rate_of(const struct joint_steps *steps, size_t i)
{
    return steps->each ? (double)steps->each[i] : steps->all;
}

/* Whether 0 is the nearest: it is within, and where the interval lets go of 0 the group is not longer than its
 * strength. */
static bool vanishes(const struct joint *joint, const struct joint_steps *steps, size_t at, size_t n, const float *v)
{
    double squares = 0;
    if (joint->lo > 0 || joint->hi < 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        double pull = (double)v[i] / (rate_of(steps, at + i) * joint->here.group);
        if ((pull > 0 && joint->hi > 0) || (pull < 0 && joint->lo < 0))
            squares += pull * pull;
    }
    return squares <= 1;
}

/* |x|^2/s^2 - 1 with x_i = clip(v_i s/(s + rate_i group)), and its slope; x is that group's proximal point where the
 * norm is s: group |x| is the least of group (|x|^2/s + s)/2 over s. */
static double box_gap(const struct joint *joint, const struct joint_steps *steps, size_t at, size_t n, const float *v,
                      double s, double *ret_slope)
{
    double squares = 0, turns = 0;
    for (size_t i = 0; i < n; i++) {
        double strength = rate_of(steps, at + i) * joint->here.group, free = (double)v[i] * s / (s + strength);
        double x = clipped(joint, free);
        squares += x * x;
        if (x == free)
            turns += x * x * strength / (s + strength);
    }
    *ret_slope = 2 * (turns - squares) / (s * s * s);
    return squares / (s * s) - 1;
}

static void prox_group_in_box(const struct joint *joint, const struct joint_steps *steps, size_t at, size_t n, float *w)
{
    double most = 0, near = clipped(joint, 0), slope;
    bool zero = vanishes(joint, steps, at, n, w);
    for (size_t i = 0; i < n; i++)
        most += fmax((double)w[i] * (double)w[i], near * near);
    struct root root;
    root_start(&root, 0, sqrt(most), sqrt(most));
    while (!zero && !root.done) {
        double gap = box_gap(joint, steps, at, n, w, root.at, &slope);
        root_round(&root, gap, slope, 1e-14);
    }
    for (size_t i = 0; i < n; i++) {
        double strength = rate_of(steps, at + i) * joint->here.group;
        w[i] = zero ? 0 : (float)clipped(joint, (double)w[i] * root.at / (root.at + strength));
    }
}

static void prox_in_interval(const struct joint *joint, const struct joint_steps *steps, size_t n, float *w)
{
    size_t size = (size_t)joint->here.group_size;
    if (joint->clips && is_cone(joint))
        kernels_get()->clamp(n, joint->lo, joint->hi, w);
    if (!joint->clips || is_cone(joint))
        prox_groups(&joint->here, steps->all, steps->each, n, w);
    else
        for (size_t at = 0; at < n; at += size)
            prox_group_in_box(joint, steps, at, size, w + at);
}

/* ---- elements, groups, rows ---- */

static void project_rows(const struct joint *joint, const struct joint_steps *steps, size_t n, float *w)
{
    for (uint32_t i = 0; i < joint->constraints->count; i++) {
        const struct constraint *c = &joint->constraints->list[i];
        if (!(c->mask >> joint->tensor & 1))
            continue;
        if (c->kind == CONSTRAINT_MAX_NORM && steps->each)
            project_max_norm_by_rate(n, (size_t)joint->row, c->arg, steps->each, w);
        else if (c->kind == CONSTRAINT_MAX_NORM)
            project_max_norm(n, (size_t)joint->row, c->arg, w);
        if (c->kind == CONSTRAINT_UNIT_NORM)
            project_unit_norm(n, (size_t)joint->row, w);
    }
}

void joint_here(const struct joint *joint, const struct joint_steps *steps, size_t n, float *w)
{
    if (!steps->none)
        prox_l1(&joint->here, steps->all, steps->each, n, w);
    if (!steps->none && joint->here.group > 0)
        prox_in_interval(joint, steps, n, w);
    else if (joint->clips)
        kernels_get()->clamp(n, joint->lo, joint->hi, w);
    if (joint->has_rows)
        project_rows(joint, steps, n, w);
}
