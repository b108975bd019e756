/* Carriers: how payloads travel between a session and its shard. Each session has one: the socket's (payload.h), or
 * that of shared memory (shm.h), which falls back on the socket's. A filter or a relay is a further carrier. Types
 * only. Thread: shard. */
#ifndef DP_SERVER_NET_CARRIER_H
#define DP_SERVER_NET_CARRIER_H

#include "server/net/state.h"

/* Floats of a push, as its message has them. */
struct carrier_push {
    uint32_t slab;      /* as in struct port_message */
    uint64_t at, count; /* its floats in the slab */
    zmq_msg_t *payload; /* NULL: none came */
};

struct carrier {
    /* Takes a push's floats; none at all are an empty blob. DP_PROTO: they are not where the message says; DP_NOMEM. */
    dp_err (*take)(struct port_state *port, const struct port_session *session, const struct carrier_push *push,
                   struct blob *ret_floats, dp_error *err);
    /* Lends the version of an answer and tells the worker in `body` where it is. False: its floats must be sent. */
    bool (*lend)(struct port_state *port, const struct port_session *session, const struct params *params,
                 Dp__Params *body);
    /* Room for an answer's rows; NULL: they must be sent. */
    float *(*room)(struct port_state *port, const struct port_session *session, uint64_t bytes, uint64_t *ret_at);
    /* Tells the worker in `body` where the rows are, if they lie in `room`. */
    void (*lend_rows)(struct port_state *port, const struct port_session *session, const struct rows_params *rows,
                      Dp__Rows *body);
    /* The worker has version number `have` of a slice, by its index: it reads no older one. */
    void (*done)(const struct port_session *session, uint32_t slice, uint64_t have);
    /* The worker reads no rows before byte `taken` any more. */
    void (*done_rows)(const struct port_session *session, uint64_t taken);
};

#endif
