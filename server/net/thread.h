/* A shard's thread, as the head has it: its uv loop and its ROUTER socket are the thread's own (state.h). It turns
 * messages into calls of the shard's core and back. Payloads of pushes are kept in libzmq's buffers; replies refer to
 * the version itself: neither is copied. Thread: head. */
#ifndef DP_SERVER_NET_THREAD_H
#define DP_SERVER_NET_THREAD_H

#include <uv.h>

#include "common/net/shm_wire.h"
#include "common/net/zuv.h"
#include "common/net/zuv_bind.h"
#include "server/link/local.h"
#include "server/net/post.h"
#include "server/shard/counters.h"

enum { PORT_REPLY_QUEUE = 4096 }; /* messages that may wait for a peer to read them */

struct folder;
struct port_state;
struct writer;

struct port {
    uint32_t id;
    char endpoint[ZUV_ENDPOINT_MAX];
    char shm_name[SHM_NAME_MAX]; /* of its Unix socket; "": it has none */
    struct shard_counters counters;
    struct shard_link *link; /* to the shard */
    bool running;
    uv_async_t wake; /* the thread: letters are there, or commands */
    uv_thread_t thread;
    struct link_local local;
    struct port_state *state; /* the thread's, heap */
};

/* The place at which a port listens. */
struct port_place {
    const char *listen;     /* port 0: a free one */
    struct zuv_ports ports; /* instead of its port, unless .first is 0 */
    struct post *post;      /* of a head that shares the socket, or NULL */
    const char *shm;        /* name of its socket for shared memory */
    enum shm_mode mode;
    const struct folder *checkpoints; /* that cuts are written to, and the thread that does it; NULL: none */
    struct writer *writer;            /* stopped after port_stop and before port_fini */
};
/* Binds and starts the thread. Events wake `wake_head`. DP_SYSTEM, DP_NOMEM; DP_BUSY where all its ports are in use. */
DP_MUST_CHECK dp_err port_start(struct port *port, uint32_t id, void *zmq_context, const struct port_place *place,
                                uv_async_t *wake_head, dp_error *err);
/* Stops the thread, closes its socket and waits for both. libzmq may hold replies until its context is terminated. */
void port_stop(struct port *port);
/* Once libzmq's context is terminated: frees all. Events that are left are dropped with what they carry. */
void port_fini(struct port *port);

#endif
