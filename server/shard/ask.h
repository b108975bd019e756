/* Questions about a step: a worker asks which of its pushes have come, and sends only the rest again; the head asks
 * which slots are owed. Thread: shard. */
#ifndef DP_SERVER_SHARD_ASK_H
#define DP_SERVER_SHARD_ASK_H

#include "server/shard/state.h"

struct shard_question {
    uint32_t session; /* number */
    uint32_t piece;   /* slice or part, its id in the job */
    uint64_t step;
    uint64_t pull_step;
};

struct shard_held {
    const uint8_t *accepted; /* slots of the step, of steps_accepted; borrowed until the shard's next call */
    size_t accepted_bytes;
    bool waits; /* the session's pull of pull_step is parked */
};

/* False where the piece is another shard's. */
bool shard_ask(struct shard *shard, const struct shard_question *question, struct shard_held *ret_held);
/* Slots that any piece is owed at the first step that is not complete here, to owed[K], ascending; returns how many and
 * the step. */
uint32_t shard_owed(const struct shard *shard, uint64_t *ret_step, uint32_t *owed);

#endif
