/* Certified optima of small convex problems in double precision:
 *
 *   min over w of w'Hw/2 - b'w + sum l1_i |w_i| + group sum |w_g|, with w in each of some sets.
 *
 * By consensus ADMM (Boyd et al. 2011), which knows each term by itself alone: the proximal step of |.|, that of a
 * group's norm, the projection on each set from its textbook. So nothing of how terms are joined can be wrong in the
 * same way. The answer comes with a certificate: subgradients of all terms at points next to w, whose sum with Hw - b
 * is nearly 0. */
#ifndef DP_TESTS_UNIT_SUPPORT_OPTIMUM_H
#define DP_TESTS_UNIT_SUPPORT_OPTIMUM_H

#include <stddef.h>

enum { OPTIMUM_MAX = 48, OPTIMUM_SETS = 3 };

struct optimum_set {
    const char *kind; /* as in --constraint */
    double lo, hi;    /* box */
    double arg;
    size_t row;                 /* max-norm */
    size_t count;               /* on elements [0, count); 0: all */
    double linear[OPTIMUM_MAX]; /* <= arg, or = */
    int equality;
};

struct optimum {
    size_t n;
    double h[OPTIMUM_MAX][OPTIMUM_MAX], b[OPTIMUM_MAX];
    double l1[OPTIMUM_MAX];
    double group;
    size_t group_size;
    size_t set_count;
    struct optimum_set sets[OPTIMUM_SETS];
};

/* The optimum to w; returns the certificate: the largest element of the sum of subgradients, and of the distances of
 * the points that they are taken at. */
double optimum_find(const struct optimum *problem, double *w);
/* The objective at w, constraints left aside. */
double optimum_value(const struct optimum *problem, const double *w);

#endif
