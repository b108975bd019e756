/* Pairs of regularizers, constraints and rules that have no common solution; the table is in joint.h. Thread: any. */
#ifndef DP_COMMON_TERMS_JOINT_CHECK_H
#define DP_COMMON_TERMS_JOINT_CHECK_H

#include "common/terms/joint.h"

/* Whether pairs of terms, and terms under rules that scale steps by coordinate, end at the optimum. `rule` is that of
 * such a rule, else NULL. DP_USAGE, saying what to do instead. */
DP_MUST_CHECK dp_err joint_check(const struct constraints *constraints, const struct tensors *tensors,
                                 const struct regular *regular, const char *rule, dp_error *err);

#endif
