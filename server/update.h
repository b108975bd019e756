/* Update rules: from theta, its optimizer state and the sum of a step's gradients to the next theta. One row of the
 * table in update.c a rule; a rule says how many floats of state an element has and whether it is local (each run of
 * elements on its own). Knows no network. Thread: shard. */
#ifndef DP_UPDATE_H
#define DP_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

enum { UPDATE_STATE_MAX = 2 };

/* Hyper-parameters of a job. */
struct update_params {
    double lr;       /* eta */
    double momentum; /* beta, 0 <= beta < 1 */
    double l2;       /* lambda_2, coupled: g + lambda_2 w */
};

struct update_rule {
    const char *name;
    uint32_t state_count; /* floats of state per element */
    bool local;           /* needs nothing but the elements themselves: commits slice by slice */
    /* One commit of n elements. state[i] has n floats each. `out` is another array than w. */
    void (*step)(size_t n, const struct kernel_update *p, const float *w, const float *g, float *const *state,
                 float *out);
};

/* Row `index` of the table, in the order of update_rule_names. */
const struct update_rule *update_rule_at(int index);
/* "sgd|momentum": the choices of --optimizer. */
#define UPDATE_RULE_NAMES "sgd|momentum"

/* What one commit needs, from the job's hyper-parameters: `samples` is the step's count; regularized says whether the
 * tensor has the l2 term. */
struct kernel_update update_at(const struct update_params *params, uint64_t samples, bool regularized);

#endif
