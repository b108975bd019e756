/* First values of a job: theta, the optimizer's state and the multipliers as they are when its first step opens, from
 * the tensors' initializers and the seed. Every piece takes them from here, so another source of them is a change of
 * first_values.c. Thread: any. */
#ifndef DP_SERVER_STEP_FIRST_VALUES_H
#define DP_SERVER_STEP_FIRST_VALUES_H

#include "server/step/job.h"

/* Elements of `range` of theta, to theta[range.count], and their state, whose arrays [range.count] are zeros. The same
 * values however theta is cut. */
void first_values_range(const struct shard_job *job, struct range range, float *theta, float *const *state);
/* A row of a table, to w[dim], and its state, to state[i][dim]: of a row that no commit has touched. */
void first_values_row(const struct shard_job *job, uint32_t tensor, uint64_t id, float *w, float *const *state);
/* Multipliers of augmented constraints: the shards' and the head's are the same at each step. */
void first_values_multipliers(const struct shard_job *job, struct multipliers *ret_multipliers);

#endif
