/* Regularizers and projected constraints that go together, as jobs and the reference (optimum.h) take them. */
#ifndef DP_TESTS_UNIT_SUPPORT_JOINT_CASES_H
#define DP_TESTS_UNIT_SUPPORT_JOINT_CASES_H

#include "server/dense/slice.h"
#include "tests/unit/support/optimum.h"

/* Values of --constraint; "linear=", "linear<" and "linear<far" stand for a row that is written to a file. */
struct pair {
    const char *one, *other; /* other: NULL for none */
};
enum { SET_COUNT = 20, REGULAR_COUNT = 5 };
extern const struct pair SETS[SET_COUNT];
extern const struct regular REGULARS[REGULAR_COUNT];

/* Adds a constraint to a job; NULL: none. */
void add_constraint(struct shard_job *job, const char *text);
/* Adds those of a pair, resolved and checked. */
void constrain(struct shard_job *job, const struct pair *pair);
/* The same constraints as the reference takes them, on the first `count` elements. */
void tell_sets(const struct constraints *constraints, size_t count, size_t row, struct optimum *problem);

#endif
