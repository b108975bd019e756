/* Whether enough workers are there for the job to go on. Thread: head. */
#ifndef DP_SERVER_ASSIGN_QUORUM_H
#define DP_SERVER_ASSIGN_QUORUM_H

#include <stdbool.h>
#include <stdint.h>

struct head;

/* Workers of a local job whose data are through: nobody waits for them. */
uint32_t head_ranks_finished(const struct head *head);
/* Workers that must come for the job to go on: those of --min-workers, at least one, that have neither joined nor
 * finished; and whether enough have come. */
uint64_t head_missing(const struct head *head);
bool head_has_enough(const struct head *head);

#endif
