/* Reads of a part: rows as they are now, or as they were at a step whose undo logs are kept. Reads make no rows and
 * write none. Thread: shard. */
#ifndef DP_SERVER_TABLE_READ_H
#define DP_SERVER_TABLE_READ_H

#include "server/table/state.h"

/* Whether theta of the step can be read. */
bool part_holds(const struct part *part, uint64_t step);
/* Training steps that theta of a step has seen: its version. */
uint64_t part_version(const struct part *part, uint64_t step);
/* theta_step of the list's rows, which must be held; out[count * dim]. Looks for rows that are missing in the list.
 * DP_NOMEM. */
DP_MUST_CHECK dp_err part_read(struct part *part, uint64_t step, struct rowlist *list, float *out);
/* The records of the list's rows as they were at a step, NULL for rows without one then; to records[count]. */
void part_records(const struct part *part, uint64_t step, const struct rowlist *list, const float **records);

#endif
