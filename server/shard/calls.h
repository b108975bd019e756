/* The shard's words: answers to sessions, refusals, and what it tells the head. Types only. Thread: shard. */
#ifndef DP_SERVER_SHARD_CALLS_H
#define DP_SERVER_SHARD_CALLS_H

#include "server/dense/version.h"
#include "server/link/event.h"
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
    /* A node of `step` has come to the job's first slice, first or after others. */
    void (*arrived)(void *arg, uint32_t session, uint64_t step, uint32_t node);
    /* Reserves `bytes` in the session's ring; *ret_at is the position. NULL: send the rows in the message. */
    float *(*room)(void *arg, uint32_t session, uint64_t bytes, uint64_t *ret_at);
    void (*rows)(void *arg, const struct rows_params *rows);
    /* News for the head, which owns what the event owns. FAILED comes at most once: the shard takes nothing and commits
     * nothing any more. */
    void (*emit)(void *arg, const struct event *event);
    /* A cut that was armed has become ready (cut.h). NULL: nobody asks for cuts. */
    void (*cut)(void *arg);
    void *arg;
};

#endif
