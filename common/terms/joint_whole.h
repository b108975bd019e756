/* Constraints on whole vectors beside regularizers: the search for their multiplier; the problem is in joint.h.
 * Thread: any. */
#ifndef DP_COMMON_TERMS_JOINT_WHOLE_H
#define DP_COMMON_TERMS_JOINT_WHOLE_H

#include "common/terms/joint.h"
#include "common/terms/root.h"

struct joint_search {
    struct root root;
    bool started, done;
};
enum { JOINT_SUMS = 4 };
/* Adds the sums that the search wants next, over elements [first, first + n) of theta, whole groups of one tensor. */
void joint_sums(const struct joint *joint, const struct constraint *c, const struct joint_search *search,
                const struct joint_steps *steps, uint64_t first, size_t n, const float *v, double sums[JOINT_SUMS]);
/* Takes in the sums over all. */
void joint_round(const struct constraint *c, struct joint_search *search, const double sums[JOINT_SUMS]);
void joint_apply(const struct joint *joint, const struct constraint *c, const struct joint_search *search,
                 const struct joint_steps *steps, uint64_t first, size_t n, float *w);

/* All of theta in one place, with one step size: prox of step * R at theta, within all constraints. */
void joint_prox(const struct constraints *constraints, const struct tensors *tensors, const struct regular *regular,
                double step, float *theta);

#endif
