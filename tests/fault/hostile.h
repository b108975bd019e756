/* Attacks of strangers and members on a live job, kind by kind. Each is bounded in time and in what it sends, and
 * closes what it opened. After each the job must be well (live_job.h). Thread: the caller's. */
#ifndef DP_TESTS_FAULT_HOSTILE_H
#define DP_TESTS_FAULT_HOSTILE_H

#include "tests/fault/insider.h"
#include "tests/fault/live_job.h"

struct stage {
    struct job *job;
    const struct facts *facts;
};

struct attack {
    const char *name;
    const char *what;                                        /* one line */
    bool (*run)(const struct stage *stage, struct why *why); /* false: the server did not answer as it must */
};

/* attacks_wire.c and so on; each list ends with a NULL name. */
extern const struct attack WIRE_ATTACKS[], CROWD_ATTACKS[], MESSAGE_ATTACKS[], SESSION_ATTACKS[], DOOR_ATTACKS[];

/* ---- for the attacks ---- */

enum { PORTS_MAX = 1 + JOB_SHARDS_MAX };
/* The endpoints that strangers can reach: the head's, and the shards' that differ from it. Returns how many. */
int stage_ports(const struct stage *stage, const char *ports[PORTS_MAX]);
/* An insider says hello and joins. */
bool stage_enter(const struct stage *stage, struct insider *insider, struct why *why);

/* attacks_message.c: messages of a kind, as fast as the server takes them; answers are read. Returns how many were
 * sent, fewer where the server hangs up. */
struct flood {
    const char *name, *what;
    /* Writes one message of the kind, a whole one on the wire; returns its size. */
    size_t (*write)(const struct stage *stage, uint8_t *out, size_t size);
    bool to_shard;
    uint32_t count; /* in the standard run */
};
enum { FLOOD_BYTES_MAX = 3 << 20 };
extern const struct flood FLOODS[];
uint64_t flood_send(const struct stage *stage, const struct flood *flood, uint64_t count, uint64_t timeout_ms);

#endif
