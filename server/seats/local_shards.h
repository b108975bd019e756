/* Shards that are threads of this process: starts them and fills their seats. The only module of the head's side that
 * knows a shard's thread (server/net/thread.h). Thread: head. */
#ifndef DP_SERVER_SEATS_LOCAL_SHARDS_H
#define DP_SERVER_SEATS_LOCAL_SHARDS_H

#include <stdint.h>
#include <uv.h>

#include "common/base/dp_err.h"

struct folder;
struct post;
struct seats;
struct server_options;
struct writer;

/* The head, as its shards need it. */
struct local_head {
    const struct server_options *opts; /* --shards, --listen, --ports, --advertise, --shm */
    void *zmq;
    uv_async_t *wake;                 /* of its loop: the shards have events */
    const char *endpoint;             /* at which it listens; not read where there is a post */
    struct post *post;                /* of a head that has no socket but its one shard's, or NULL */
    uint64_t incarnation;             /* names of sockets have it */
    const struct folder *checkpoints; /* of --checkpoint-dir, and the thread that writes there; NULL: none */
    struct writer *writer;
};

/* Starts --shards of them, which have the first seats; those that run when one fails have their seats. DP_SYSTEM,
 * DP_NOMEM; the text names the option or the shard. */
DP_MUST_CHECK dp_err local_shards_start(struct seats *seats, const struct local_head *head, dp_error *err);

#endif
