/* A session as its messages name it. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_CONTACT_HEADER_H
#define DP_WORKER_CLIENT_CONTACT_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/frame.h"

/* Invariants: `request` grows by one with each header, across sessions too; `lost` is cleared only when hello, join or
 * a look at the head asks anew. */
struct session {
    uint64_t worker; /* our number */
    uint64_t id;     /* 0: no Welcome has come yet */
    uint64_t incarnation;
    uint64_t features;             /* FRAME_FEATURE_ bits that the server knows as well */
    char host[FRAME_NAME_MAX + 1]; /* of the server; empty: it shares no memory */
    uint64_t request;              /* number of the last header */
    uint32_t heartbeat_ms;
    bool joined;       /* dp_join has succeeded */
    bool lost;         /* hello and join again before anything else */
    uint64_t heard_ms; /* last message of anyone, heartbeats apart */
};

/* A header of this session with the next request number. */
Dp__Header session_header(struct session *session);
/* Whether a message's header belongs to this session's incarnation of the job. */
bool session_owns(const struct session *session, const Dp__Header *header);
/* A head that is silent for longer is news. */
uint64_t session_patience_ms(const struct session *session);

#endif
