/* A peer that has got in: it knows what a worker says, since a real one told it, and holds a session. Nothing of it
 * fails a test: functions tell what came of it. Thread: the caller's. */
#ifndef DP_TESTS_FAULT_INSIDER_H
#define DP_TESTS_FAULT_INSIDER_H

#include "common/net/shm_wire.h"
#include "tests/fault/live_job.h"
#include "tests/integration/support/raw_peer.h"

/* A worker of the job as it describes itself and its data. */
struct facts {
    Dp__Hello *hello;
    Dp__Join *join;
};
/* Plays the server for a real worker until it has told. */
bool facts_learn(struct facts *facts, const struct job_config *config, struct why *why);
void facts_free(struct facts *facts);

struct insider {
    struct raw_peer head;
    uint64_t worker; /* its own number, as it said hello */
    uint64_t session, incarnation, request;
    uint32_t level;                       /* of the root over the job's slots */
    uint32_t slots;                       /* of the job */
    uint64_t dealt, may_hold;             /* bitmaps of slots, as insider_listen heard of them */
    uint64_t first_elems[JOB_SHARDS_MAX]; /* of the first slice of each shard */
    uint32_t first_slice[JOB_SHARDS_MAX];
    char doors[JOB_SHARDS_MAX][SHM_NAME_MAX]; /* Unix sockets for shared memory; empty: none */
};

/* The header of its next message. */
Dp__Header insider_header(struct insider *insider);
/* Sends, and returns the answer to it (others are passed over), or NULL after some seconds or where it is cut off. */
const Dp__Header *insider_ask(struct raw_peer *peer, Dp__Header *header);
/* Connects and says hello; then joins. False where it is refused. */
bool insider_hello(struct insider *insider, const struct facts *facts, const char *endpoint);
bool insider_join(struct insider *insider, const struct facts *facts);
/* Reads what the head has sent so far. Slots of the newest assignment are `dealt`; it may hold those of the one before
 * as well, at steps that are open. */
void insider_listen(struct insider *insider);
/* Whether it may hold all slots of a node. */
bool insider_may_hold(const struct insider *insider, uint32_t level, uint32_t index);
/* Whether the server still takes the session for one. */
bool insider_is_heard(struct insider *insider);
/* Says goodbye, if asked to, and closes. Accepts one that did not get in. */
void insider_leave(struct insider *insider, bool goodbye);

#endif
