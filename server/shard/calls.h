/* The shard's words: answers to sessions, refusals, and what it tells the head. Types only. Thread: shard. */
#ifndef DP_SERVER_SHARD_CALLS_H
#define DP_SERVER_SHARD_CALLS_H

#include "server/dense/version.h"
#include "server/step/job.h"

/* theta of a slice for a step. `version` is borrowed for the call, NULL where no payload is sent (unchanged, last). */
struct params {
    uint32_t session;
    uint64_t request;
    uint32_t slice;
    uint64_t step;
    uint64_t number;
    struct version *version;
    bool last;
    uint32_t staleness;      /* of the step; more than 0: its slots commit on arrival, and are pushed one by one, */
    const uint8_t *accepted; /* those that have been, of steps_accepted; borrowed for the call */
    size_t accepted_bytes;
};

/* Why a message is refused. */
struct refusal {
    uint32_t session;
    uint64_t request;
    uint32_t slice; /* or part, as its id on the wire is */
    dp_err code;
    uint64_t step; /* the one to go on with */
    const char *text;
    const uint8_t *accepted; /* of the step that was pushed to, as in params */
    size_t accepted_bytes;
    uint64_t keys;  /* KEYS_UNKNOWN: hash of the list */
    bool not_dealt; /* REFUSED: slots of the push are not dealt to the session */
};

/* Rows of a part for a step. */
struct rows_params {
    uint32_t session;
    uint64_t request;
    uint32_t part; /* id in the job */
    uint64_t step;
    uint64_t number;
    uint64_t keys; /* hash of the list, and its rows */
    uint32_t count;
    float *values; /* heap, the receiver's, or where `room` was; NULL: no payload */
    size_t bytes;
    bool shared; /* the values are in the room of the session, at */
    uint64_t at;
    bool unchanged, last;
};

struct shard_calls {
    void (*params)(void *arg, const struct params *params);
    void (*refuse)(void *arg, const struct refusal *refusal);
    /* All slices have completed `step`; metrics are those of the shard's first slice. */
    void (*completed)(void *arg, uint64_t step, const struct metrics *metrics);
    /* A node of `step` has come to the job's first slice, first or after others. */
    void (*arrived)(void *arg, uint32_t session, uint64_t step, uint32_t node);
    /* At most once: the shard takes nothing and commits nothing any more. */
    void (*failed)(void *arg, const dp_error *err);
    /* Sums of all blocks of the shard, to be added up over all shards (server/step/block_sums.h); heap, the receiver's.
     * Answered by shard_totals, but for EXCHANGE_REPORT, which comes before the step is `completed`. */
    void (*sums)(void *arg, uint64_t step, uint32_t phase, uint32_t values, double *sums);
    /* Reserves `bytes` in the session's ring; *ret_at is the position. NULL: send the rows in the message. */
    float *(*room)(void *arg, uint32_t session, uint64_t bytes, uint64_t *ret_at);
    void (*rows)(void *arg, const struct rows_params *rows);
    /* If the head says GO: the steps before `ready` have all slots that roster number `roster` wants. */
    void (*ready)(void *arg, uint64_t ready, uint64_t roster);
    /* So few slots of `step` are owed that they may be left out of it; told anew after gate_asked. */
    void (*few)(void *arg, uint64_t step);
    void *arg;
};

#endif
