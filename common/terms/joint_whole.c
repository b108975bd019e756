/* Regularizers and a constraint on a whole vector: the search for its multiplier; see joint.h. Thread: any. */
#include "common/terms/joint_whole.h"

#include <math.h>

#include "common/terms/project.h"

enum { ROUNDS_MAX = 100 };

/* Sums that a search begins with, where it does not begin at 0: what the plain projection's multiplier follows from,
 * how far regularizers can take it from there, and the constraint's value without a multiplier. */
enum { FIRST_VALUE, FIRST_WEIGHT, FIRST_SPREAD, FIRST_AS_IT_IS };
/* ... and of each round: the constraint's value, its slope, and the size of what is added up; l2-ball: squares, and the
 * slope of project_ball_next. */
enum { ROUND_VALUE, ROUND_SLOPE, ROUND_SIZE };

/* Coefficients over a run of a constraint that is linear in x. */
struct coefficients {
    const struct linear_row *row; /* NULL: all are 1 */
    size_t entry;
    uint64_t at;
};

static struct coefficients coefficients_of(const struct constraint *c, uint64_t first)
{
    struct coefficients of = {.at = first - c->offset};
    if (c->kind == CONSTRAINT_LINEAR) {
        of.row = &c->linear.rows[0];
        of.entry = linear_row_find(of.row, of.at);
    }
    return of;
}

static double coefficient_next(struct coefficients *of)
{
    uint64_t at = of->at++;
    if (!of->row)
        return 1;
    if (of->entry == of->row->count || of->row->index[of->entry] != at)
        return 0;
    return of->row->value[of->entry++];
}

/* A run of elements under one multiplier. */
struct run {
    const struct joint *joint;
    const struct constraint *c;
    const struct joint_steps *steps;
    double mu, l1;
    struct coefficients coefficients;
};

static struct run run_of(const struct joint *joint, const struct constraint *c, const struct joint_steps *steps,
                         uint64_t first, double mu)
{
    return (struct run){joint, c, steps, mu, steps->none ? 0 : joint->later.l1, coefficients_of(c, first)};
}

/* An element before groups shrink. */
struct point {
    double x, slope; /* by mu */
    double c;
};

/* The run's next element. */
static struct point point_next(struct run *run, size_t i, double v)
{
    double r = run->steps->each ? (double)run->steps->each[i] : run->steps->all, mu = run->mu;
    double sign = v < 0 ? -1 : 1, c = coefficient_next(&run->coefficients), z, size;
    switch (run->c->kind) {
    case CONSTRAINT_L2_BALL:
        z = v / (1 + r * mu);
        return (struct point){z, -r * z / (1 + r * mu), 1};
    case CONSTRAINT_L1_BALL:
        size = fabs(v) - r * mu;
        return size <= 0 ? (struct point){.c = sign} : (struct point){sign * size, -r * sign, sign}; /* NaN stays */
    case CONSTRAINT_SIMPLEX:
        z = v - r * (mu + run->l1);
        return z <= 0 ? (struct point){.c = 1} : (struct point){z, -r, 1};
    default:
        z = v - r * mu * c;
        size = fabs(z) - r * run->l1;
        if (run->l1 > 0 && size <= 0)
            return (struct point){.c = c};
        return (struct point){copysign(size, z), -r * c, c};
    }
}

/* Elements of the later group, or all that there are. */
static size_t group_elems(const struct run *run, size_t n)
{
    return run->joint->later.group > 0 ? (size_t)run->joint->later.group_size : n;
}

static double group_strength(const struct run *run)
{
    return run->steps->none ? 0 : run->steps->all * run->joint->later.group;
}

/* Adds one group: x = u (1 - strength/|u|), or 0. */
static void add_group(struct run *run, size_t at, size_t n, const float *v, double *sums)
{
    double value = 0, slope = 0, size = 0, squares = 0, turn = 0, strength = group_strength(run);
    for (size_t i = at; i < at + n; i++) {
        struct point p = point_next(run, i, (double)v[i]);
        value += p.c * p.x;
        slope += p.c * p.slope;
        size += fabs(p.c * p.x);
        squares += p.x * p.x;
        turn += p.x * p.slope;
    }
    double norm = sqrt(squares), keep = strength > 0 ? 1 - strength / norm : 1;
    if (!(keep > 0))
        return;
    sums[ROUND_VALUE] += keep * value;
    sums[ROUND_SLOPE] += keep * slope + (strength > 0 ? strength * value * turn / (squares * norm) : 0);
    sums[ROUND_SIZE] += keep * size;
}

static void add_ball(struct run *run, size_t n, const float *v, double *sums)
{
    for (size_t i = 0; i < n; i++) {
        struct point p = point_next(run, i, (double)v[i]);
        sums[ROUND_VALUE] += p.x * p.x;
        sums[ROUND_SLOPE] -= p.x * p.slope;
    }
}

static bool begins_at_zero(const struct constraint *c)
{
    return c->kind == CONSTRAINT_L1_BALL || c->kind == CONSTRAINT_L2_BALL;
}

/* A proximal step moves c'x by at most r l1 |c_i| for each element and r group |c_g| for each group. On the simplex L1
 * moves all elements alike. */
static void add_first(struct run *run, size_t n, const float *v, double *sums)
{
    bool simplex = run->c->kind == CONSTRAINT_SIMPLEX;
    size_t group = group_elems(run, n);
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double r = run->steps->each ? (double)run->steps->each[i] : run->steps->all;
        double c = coefficient_next(&run->coefficients);
        sums[FIRST_VALUE] += c * (simplex ? (double)v[i] - r * run->l1 : (double)v[i]);
        sums[FIRST_WEIGHT] += r * c * c;
        sums[FIRST_SPREAD] += simplex ? 0 : r * run->l1 * fabs(c);
        squares += c * c;
        if ((i + 1) % group == 0) {
            sums[FIRST_SPREAD] += group_strength(run) * sqrt(squares);
            squares = 0;
        }
    }
}

static void add_round(struct run *run, size_t n, const float *v, double *sums)
{
    size_t group = group_elems(run, n);
    if (run->c->kind == CONSTRAINT_L2_BALL)
        add_ball(run, n, v, sums);
    else
        for (size_t at = 0; at < n; at += group)
            add_group(run, at, group, v, sums);
}

void joint_sums(const struct joint *joint, const struct constraint *c, const struct joint_search *search,
                const struct joint_steps *steps, uint64_t first, size_t n, const float *v, double sums[JOINT_SUMS])
{
    struct run run = run_of(joint, c, steps, first, search->root.at);
    double as_it_is[JOINT_SUMS] = {0};
    if (search->started || begins_at_zero(c)) {
        add_round(&run, n, v, sums);
        return;
    }
    add_first(&run, n, v, sums);
    run = run_of(joint, c, steps, first, 0);
    add_round(&run, n, v, as_it_is);
    sums[FIRST_AS_IT_IS] += as_it_is[ROUND_VALUE];
}

static double target_of(const struct constraint *c)
{
    return c->kind == CONSTRAINT_LINEAR ? c->linear.rows[0].bound : c->arg;
}

static void start(const struct constraint *c, struct joint_search *search, const double *sums)
{
    double target = target_of(c), weight = sums[FIRST_WEIGHT], spread = sums[FIRST_SPREAD] / weight;
    double plain = (sums[FIRST_VALUE] - target) / weight;
    bool met = c->kind == CONSTRAINT_LINEAR && !c->linear.rows[0].equality && sums[FIRST_AS_IT_IS] <= target;
    if (met || !isfinite(plain) || !isfinite(spread)) {
        search->done = true;
    } else if (c->kind == CONSTRAINT_SIMPLEX) {
        root_start(&search->root, plain - spread, INFINITY, plain - spread);
    } else {
        /* a little wider, so that a root at an end lies inside */
        root_start(&search->root, plain - 1.01 * spread, plain + 1.01 * spread, plain);
        search->done = spread <= 0;
    }
}

static void round_ball(const struct constraint *c, struct joint_search *search, const double *sums)
{
    struct root *root = &search->root;
    double next = project_ball_next(root->at, sums[ROUND_VALUE], sums[ROUND_SLOPE], c->arg);
    search->done = next <= root->at || ++root->rounds == ROUNDS_MAX;
    root->at = next;
}

void joint_round(const struct constraint *c, struct joint_search *search, const double sums[JOINT_SUMS])
{
    bool first = !search->started;
    search->started = true;
    if (first && !begins_at_zero(c)) {
        start(c, search, sums);
        return;
    }
    if (c->kind == CONSTRAINT_L2_BALL) {
        round_ball(c, search, sums);
        return;
    }
    double gap = sums[ROUND_VALUE] - target_of(c), size = sums[ROUND_SIZE] + fabs(target_of(c));
    if (first) {
        root_start(&search->root, 0, INFINITY, 0);
        search->done = !(gap > 0);
    }
    if (!search->done) {
        root_round(&search->root, gap, sums[ROUND_SLOPE], 1e-12 * size);
        search->done = search->root.done;
    }
}

void joint_apply(const struct joint *joint, const struct constraint *c, const struct joint_search *search,
                 const struct joint_steps *steps, uint64_t first, size_t n, float *w)
{
    struct run run = run_of(joint, c, steps, first, search->root.at);
    size_t group = group_elems(&run, n);
    for (size_t at = 0; at < n; at += group) {
        double squares = 0, strength = group_strength(&run);
        struct run again = run;
        for (size_t i = at; strength > 0 && i < at + group; i++) {
            struct point p = point_next(&again, i, (double)w[i]);
            squares += p.x * p.x;
        }
        double keep = strength > 0 ? fmax(1 - strength / sqrt(squares), 0) : 1;
        for (size_t i = at; i < at + group; i++)
            w[i] = (float)(keep * point_next(&run, i, (double)w[i]).x);
    }
}

/* ---- in one place ---- */

static void search_whole(const struct constraint *c, const struct tensors *tensors, const struct joint *joints,
                         const struct joint_steps *steps, float *theta)
{
    struct joint_search search = {0};
    while (!search.done) {
        double sums[JOINT_SUMS] = {0};
        for (uint32_t t = 0; t < tensors->count; t++)
            if (c->mask >> t & 1)
                joint_sums(&joints[t], c, &search, steps, tensors_offset(tensors, t), (size_t)tensors->list[t].elems,
                           theta + tensors_offset(tensors, t), sums);
        joint_round(c, &search, sums);
    }
    for (uint32_t t = 0; t < tensors->count; t++)
        if (c->mask >> t & 1)
            joint_apply(&joints[t], c, &search, steps, tensors_offset(tensors, t), (size_t)tensors->list[t].elems,
                        theta + tensors_offset(tensors, t));
}

void joint_prox(const struct constraints *constraints, const struct tensors *tensors, const struct regular *regular,
                double step, float *theta)
{
    struct joint joints[TENSOR_COUNT_MAX];
    struct joint_steps steps = {.all = step};
    for (uint32_t t = 0; t < tensors->count; t++) {
        joints[t] = joint_of(constraints, tensors, regular, t);
        joint_here(&joints[t], &steps, (size_t)tensors->list[t].elems, theta + tensors_offset(tensors, t));
    }
    for (uint32_t i = 0; constraints->method == METHOD_PROJECT && i < constraints->count; i++)
        if (constraint_is_global(&constraints->list[i]))
            search_whole(&constraints->list[i], tensors, joints, &steps, theta);
}
