/* Constraints C(theta): what they are, what of theta they need to know, and how far theta is from meeting them.
 *
 * A constraint is on one tensor, or (none named) on all regularized tensors: element-wise and row-wise ones on each,
 * the others on all of them as one vector. Intercepts are constrained only by name. A row is the elements of one index
 * of a tensor's first dimension; a vector is one row.
 *
 * Methods. project: after each step theta is moved to the nearest point of the set. penalty: J + beta/2 |c(theta)|^2
 * is minimized instead. augmented: J + mu c + rho/2 |c|^2, with mu growing by rho c every so often until c = 0 holds
 * (Hestenes 1969, Powell 1969); rho doubles, up to a cap, unless |c| has fallen to a quarter or is within tolerance.
 * Thread: any. */
#ifndef DP_COMMON_TERMS_CONSTRAINT_H
#define DP_COMMON_TERMS_CONSTRAINT_H

#include "common/tensor/tensor.h"

enum constraint_kind {
    CONSTRAINT_NONNEG,    /* w >= 0 (Keras's NonNeg) */
    CONSTRAINT_BOX,       /* lo <= w <= hi */
    CONSTRAINT_MAX_NORM,  /* each row's norm <= r (Keras's MaxNorm) */
    CONSTRAINT_UNIT_NORM, /* each row's norm = 1 (Keras's UnitNorm) */
    CONSTRAINT_L2_BALL,   /* |w| <= r */
    CONSTRAINT_L1_BALL,   /* |w|_1 <= r */
    CONSTRAINT_SIMPLEX,   /* w >= 0, sum w = s */
    CONSTRAINT_SUM,       /* sum w = s */
    CONSTRAINT_LINEAR,    /* rows a w <= c or a w = c, read from a file */
};

enum constraint_method { METHOD_PROJECT, METHOD_PENALTY, METHOD_AUGMENTED };
#define METHOD_NAMES "project|penalty|augmented"

enum {
    CONSTRAINTS_MAX = 16,
    CONSTRAINT_ROWS_MAX = 256, /* of all linear constraints of a job */
    CONSTRAINT_TERMS_MAX = CONSTRAINT_ROWS_MAX + CONSTRAINTS_MAX,
};

/* One row: sum of value[i] * w[index[i]], ascending, against bound. */
struct linear_row {
    bool equality;
    double bound;
    double squares; /* of the values */
    size_t count;
    uint64_t *index; /* from 0, of the tensor or, without one, of theta */
    double *value;
};

struct linear {
    uint32_t count;
    struct linear_row *rows;
};

struct constraint {
    enum constraint_kind kind;
    double lo, hi; /* box */
    double arg;    /* r or s */
    struct linear linear;
    char tensor[TENSOR_NAME_MAX]; /* "" for all */
    uint64_t mask;                /* bit t: tensor t is meant; once resolved */
    uint64_t offset;              /* linear: of index 0 in theta; once resolved */
    double elems;                 /* in all; once resolved */
};

struct constraints {
    enum constraint_method method;
    double beta;      /* weight of the penalty, first rho of augmented */
    double rho_max;   /* cap of rho */
    double tolerance; /* |c| that is good enough */
    uint64_t every;   /* training steps between two updates of the multipliers */
    uint32_t count;
    struct constraint list[CONSTRAINTS_MAX];
};

/* Elements that must lie in one slice for tensor t: a row, or 1. */
uint64_t constraint_unit(const struct constraint *c, const struct tensor *tensor);
/* Whether it takes numbers of the whole vector: a global rule. */
bool constraint_is_global(const struct constraint *c);

/* First entry of the row with index >= `at`. */
size_t linear_row_find(const struct linear_row *row, uint64_t at);

/* Sums that say how far a run of elements is from meeting it, constraint_sum_count of them, to be added over all
 * elements: what constraint_violations needs. The run is elements [first, first + n) of theta, whole rows of one
 * tensor. Adds to sums. */
uint32_t constraint_sum_count(const struct constraint *c);
void constraint_sums(const struct constraint *c, uint64_t first, uint64_t row, size_t n, const float *w, double *sums);

/* Scalar terms: one for each row of a linear constraint, one for each other global constraint, none for the rest. */
uint32_t constraint_term_count(const struct constraint *c);
/* c of each term: signed for equalities, and for inequalities (which are met when it is <= 0). */
void constraint_terms(const struct constraint *c, const double *sums, double *ret_terms);
bool constraint_term_is_equality(const struct constraint *c, uint32_t term);
/* Sum of squares of what is violated. */
double constraint_violation(const struct constraint *c, const double *sums);

/* g += the gradient of the penalty at w: `weights[term]` are mu + rho c (0 where an inequality is not active), `beta`
 * weighs element-wise ones; norms come from `sums`. */
void constraint_pull(const struct constraint *c, uint64_t first, size_t n, const float *w, const double *sums,
                     const double *weights, double beta, float *g);

/* Multipliers of the augmented Lagrangian, and the weights that the penalty goes by. The same on every shard. */
struct multipliers {
    double mu[CONSTRAINT_TERMS_MAX];
    double rho[CONSTRAINTS_MAX];
    double last[CONSTRAINTS_MAX]; /* |c| at the last update */
};
void multipliers_start(struct multipliers *m, const struct constraints *constraints);
/* `terms`: c of all terms of all constraints, in order. mu += rho c, for inequalities at least 0; rho as above. */
void multipliers_update(struct multipliers *m, const struct constraints *constraints, const double *terms);
/* mu + rho c, for inequalities at least 0 (mu = 0, rho = beta for the penalty method). */
void multipliers_weights(const struct multipliers *m, const struct constraints *constraints, const double *terms,
                         double *ret_weights);

#endif
