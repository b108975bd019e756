/* Workers' questions about what has come of a step. Thread: shard. */
#ifndef DP_SERVER_SHARD_ASK_H
#define DP_SERVER_SHARD_ASK_H

#include "server/shard/shard.h"

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

#endif
