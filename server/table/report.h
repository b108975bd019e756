/* Reports of a part's rows at the end of an epoch: sums by block. Thread: shard. */
#ifndef DP_SERVER_TABLE_REPORT_H
#define DP_SERVER_TABLE_REPORT_H

#include "server/table/state.h"

/* Blocks of the table that the part has. */
uint64_t part_blocks(const struct part *part);
/* The sums at the open step, which is about to be committed with this sum of gradients; heap. NULL when out of memory.
 */
double *part_report(struct part *part, const struct rowsum *sum, uint64_t samples);

#endif
