/* Update rules in double precision, written from the papers' formulas and nothing else: what the server's commits are
 * compared with. One call is one commit of n elements of one tensor. */
#ifndef DP_TESTS_UNIT_SUPPORT_REFERENCE_H
#define DP_TESTS_UNIT_SUPPORT_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

#include "server/update/update.h"

enum { REFERENCE_MAX = 4096 };

struct reference {
    const char *rule;
    const struct update_params *params;
    struct regular regular;
    size_t n;
    uint64_t t; /* commits so far */
    double w[REFERENCE_MAX], a[REFERENCE_MAX], b[REFERENCE_MAX];
};

/* Starts at w. */
void reference_start(struct reference *r, const char *rule, const struct update_params *params,
                     const struct regular *regular, size_t n, const float *w);
/* g: the mean gradient, NULL for zeros. */
void reference_step(struct reference *r, const double *g);
/* |got - r->w| / |r->w| */
double reference_distance(const struct reference *r, const float *got);

/* Hyper-parameters as a user would have them by default, with a constant rate. */
struct update_params reference_params(const struct update_rule *rule, double lr);

#endif
