/* The data plane: pushes and pulls over the shards. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_H
#define DP_WORKER_CLIENT_PLANE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/client/shard.h"
#include "worker/client/state/values.h"

/* Invariants: a value of `sent` has one reference of ours to its slab; what was sent is kept until the next step
 * begins, so that it can be sent again. */
struct plane {
    struct shard *shards; /* those with parameters */
    uint32_t shard_count;
    struct link **links;  /* the head's and the shards' */
    struct pollfd *items; /* [2 * link_count] scratch of links_wait */
    size_t link_count;
    bool pulled;            /* the next step's theta has been asked for */
    struct sent_node *sent; /* of this step, as many as the job has slots at most */
    uint32_t sent_count;
    uint64_t progress_ms; /* something came for the step */
};

/* Makes room for what is sent of a step of the job. DP_NOMEM. Connections are plane_open's. */
DP_MUST_CHECK dp_err plane_init(struct plane *plane, uint32_t slots, dp_error *err);
/* Forgets what was sent, and frees the room. */
void plane_fini(struct plane *plane);
/* Takes a node with its value, to be sent. */
void plane_keep(struct dp_client *client, const struct sent_node *node);
/* Sends the newest such node to all pieces that lack the next theta, asking for that if `pull`. */
void plane_push(struct dp_client *client, bool pull);
/* Forgets what was sent. */
void plane_drop_sent(struct plane *plane);
/* Asks all pieces for the theta wanted. */
void plane_pull(struct dp_client *client);
/* Asks for the rows of slots that came late. */
void plane_pull_more(struct dp_client *client);
/* Sends again whatever is due. */
void plane_resend_due(struct dp_client *client, uint64_t now_ms);
/* Everything is due now. */
void plane_resend_all(struct dp_client *client);

#endif
