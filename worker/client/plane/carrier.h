/* The way that values travel between the client and the shards: by the sockets, or through memory that is shared. All
 * that depends on the way stands behind one table of operations, so that a further way is an entry and not an `if`.
 *
 * Invariants: `ops` is never NULL in a client that dp_connect has made; what a carrier of a session lent ends with the
 * session. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_CARRIER_H
#define DP_WORKER_CLIENT_PLANE_CARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/frame.h"
#include "worker/client/contact/shm.h"
#include "worker/client/plane/shard.h"
#include "worker/client/state/slab.h"
#include "worker/dp.h"

struct carrier_ops {
    bool in_order;         /* messages of a shard must come in the order they were sent: one connection */
    bool of_session;       /* a session that was taken up again has nothing of what was lent to the one before */
    uint32_t copies;       /* vectors as large as theta that this worker has in memory of its own */
    const char *copies_as; /* the same, for people */
    /* The number by which the shards know a slab, for the message that pushes it: 1 + it. 0: the values go with the
     * message. */
    uint32_t (*push)(struct plane *plane, struct slab *slab);
    /* Values of rows that are not in the message: see rings_at. DP_PROTO. */
    dp_err (*rows)(struct plane *plane, const struct shard *shard, const Dp__Rows *rows, uint64_t bytes,
                   const void **ret_values, dp_error *err);
    /* The rows that lay before `end` have been read; up to where they have. */
    void (*rows_read)(struct plane *plane, const struct shard *shard, uint64_t end);
    uint64_t (*rows_end)(const struct plane *plane, const struct shard *shard);
    /* A shard says that it has read the pushes of a slice, or a part, of steps before `done`. */
    void (*read)(struct plane *plane, uint32_t piece, uint64_t done);
    /* Slabs that were pushed at steps before this one are free again. */
    uint64_t (*free_before)(const struct plane *plane);
    /* Gives up theta if it was lent. True: it was, and is lost. */
    bool (*return_theta)(struct plane *plane);
    /* Gives up everything else that was lent. */
    void (*close)(struct plane *plane);
};

struct carrier {
    const struct carrier_ops *ops;
    struct client_shm shm; /* of carrier_shm.c */
    uint64_t *done;        /* [theta.piece_count] likewise: pushes of steps before this are no longer read */
};

/* The sockets carry everything. */
void carrier_init(struct carrier *carrier);
/* Shares memory with the shards if that is wanted and possible; errors name `server`. DP_REFUSED with the reason if it
 * is not and DP_SHM_ON; DP_HELLO_REQUIRED if the session is lost; DP_STOPPED. */
DP_MUST_CHECK dp_err carrier_open(struct plane *plane, dp_shm wish, const char *server, dp_error *err);
/* The session ends, and with it a theta that was lent. True: it was, and all that was computed on it is to be forgotten
 * before carrier_close, which can then free the slabs. */
DP_MUST_CHECK bool carrier_return_theta(struct plane *plane);
/* The sockets carry everything again. */
void carrier_close(struct plane *plane);
/* Tells the pool of slabs which of them are free. */
void carrier_free_slabs(struct plane *plane);

#endif
