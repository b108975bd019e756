/* The data plane: pushes and pulls over the shards. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_PLANE_H
#define DP_WORKER_CLIENT_PLANE_PLANE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/client/contact/beat.h"
#include "worker/client/contact/header.h"
#include "worker/client/contact/tell.h"
#include "worker/client/contact/timing.h"
#include "worker/client/plane/carrier.h"
#include "worker/client/plane/outage.h"
#include "worker/client/plane/shard.h"
#include "worker/client/state/fold.h"
#include "worker/client/state/layout.h"
#include "worker/client/state/open_steps.h"
#include "worker/client/state/slab.h"
#include "worker/client/state/tables.h"
#include "worker/client/state/theta.h"
#include "worker/client/state/values.h"

/* Invariants: a value of `sent` has one reference of ours to its slab; what was sent is kept until the next step
 * begins, so that it can be sent again. */
struct plane {
    /* Borrowed of the client, which outlives it. */
    const struct client_timing *timing;
    struct tell *tell;
    struct session *session; /* contact/header.h */
    struct beat *beat;
    const struct client_job *job; /* of the first Joined */
    struct open_steps *open;
    const struct fold *fold; /* of the step whose theta is valid */

    struct carrier carrier;
    struct outage outage;
    struct theta theta;
    struct tables tables;
    struct slab_pool slabs;

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

/* Makes room for what is sent of a step of the job. DP_NOMEM. Connections are those of connect.h. */
DP_MUST_CHECK dp_err plane_init(struct plane *plane, uint32_t slots, dp_error *err);
/* Forgets what was sent, and frees the room. */
void plane_fini(struct plane *plane);
/* Takes a node with its value, to be sent. */
void plane_keep(struct plane *plane, const struct sent_node *node);
/* Sends the newest such node to all pieces that lack the next theta, asking for that if `pull`. */
void plane_push(struct plane *plane, bool pull);
/* Forgets what was sent. */
void plane_drop_sent(struct plane *plane);
/* Asks all pieces for the theta wanted. */
void plane_pull(struct plane *plane);
/* Asks for the rows of slots that came late. */
void plane_pull_more(struct plane *plane);
/* Sends again whatever is due. */
void plane_resend_due(struct plane *plane, uint64_t now_ms);
/* Waits until something has come from the head or a shard, at most `timeout_ms`; see links_wait. DP_SYSTEM. */
DP_MUST_CHECK dp_err plane_wait(struct plane *plane, uint64_t timeout_ms, dp_error *err);
/* Everything is due now. */
void plane_resend_all(struct plane *plane);

#endif
