/* Constraints as users write them, KIND[=ARG][@TENSOR]. Thread: any. */
#ifndef DP_COMMON_TERMS_CONSTRAINT_TEXT_H
#define DP_COMMON_TERMS_CONSTRAINT_TEXT_H

#include "common/terms/constraint.h"

/* Adds "KIND[=ARG][@TENSOR]". DP_USAGE, or for a file DP_IO or DP_DATA, saying what is wrong, for a file with its line.
 */
DP_MUST_CHECK dp_err constraints_add(struct constraints *constraints, const char *text, dp_error *err);
/* Whether the method can do what is asked, and constraints on one tensor go together. DP_USAGE. Called again once
 * tensors are known. */
DP_MUST_CHECK dp_err constraints_check(const struct constraints *constraints, dp_error *err);
/* Finds the tensors meant; whether the constraints can be met together is not asked. DP_USAGE naming a tensor that
 * there is not. */
DP_MUST_CHECK dp_err constraints_resolve(struct constraints *constraints, const struct tensors *tensors, dp_error *err);
void constraints_fini(struct constraints *constraints);

const char *constraint_name(enum constraint_kind kind);

#endif
