/* Catching up: what the commits [from, to) would have done to a row that none of them touched, i.e. with a gradient of
 * zero. Exact: dense replay of these commits gives the same to rounding (1e-12 in double). For the store of sparse
 * tables: prepare once per gap, apply to a row's elements and state, then commit the row by the rule's own step.
 *
 * Linear rules (gradient descent, heavy ball, Nesterov, with L2 coupled or decoupled) are one 2x2 matrix, the product
 * of the steps' matrices. L1 has closed forms under gradient descent and AdaGrad; FTRL's state stays, and w is a
 * function of it. All else is replayed, element by element, which costs the length of the gap, or of what it takes
 * until the element is at rest: an element that is 0, without momentum, stays so. Thread: any. */
#ifndef DP_SERVER_UPDATE_CATCHUP_H
#define DP_SERVER_UPDATE_CATCHUP_H

#include "server/update/update.h"

enum catchup_kind {
    CATCHUP_NOTHING,
    CATCHUP_LINEAR, /* (w, m) = M (w, m) */
    CATCHUP_SHRINK, /* |w| = max(0, factor |w| - threshold) */
    CATCHUP_RATES,  /* |w| = max(0, |w| - threshold / (sqrt(G) + eps)) */
    CATCHUP_FADE,   /* the second moment fades, w stays */
    CATCHUP_FTRL,   /* w from (z, sum of squares, to), by the operations of the kernel */
    CATCHUP_REPLAY,
};

struct catchup {
    enum catchup_kind kind;
    const struct update_rule *rule;
    const struct update_params *params;
    struct regular regular;
    uint64_t from, to;
    double ww, wm, mw, mm; /* w = ww w + wm m, m = mw w + mm m */
    double factor, threshold;
};

/* Whether rows of a table can be left alone and caught up later: not where a rule needs whole tensors, nor under a
 * group penalty. */
bool catchup_possible(const struct update_rule *rule, const struct regular *regular);
/* Borrows rule and params. */
void catchup_prepare(struct catchup *c, const struct update_rule *rule, const struct update_params *params,
                     const struct regular *regular, uint64_t from, uint64_t to);
/* One element with its state, of which a rule without leaves the rest alone. */
void catchup_element(const struct catchup *c, double *w, double state[UPDATE_STATE_MAX]);
/* n elements, state[i] of n floats each, all rounded once. */
void catchup_row(const struct catchup *c, size_t n, float *w, float *const *state);

#endif
