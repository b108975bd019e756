/* A shard that has parameters: its connections, and when something is sent to it again. Thread: the one that uses the
 * client. */
#ifndef DP_WORKER_CLIENT_PLANE_SHARD_H
#define DP_WORKER_CLIENT_PLANE_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/endpoint.h"
#include "common/net/shm_wire.h"
#include "proto/link.h"

struct plane;

/* A shard with several slices has FRAME_LANES connections, because TCP's control of congestion and the waiting for a
 * window are each connection's own; see shard_lane. */
struct shard {
    struct link lanes[FRAME_LANES];
    uint32_t lane_count;
    bool lost;               /* a lane is, and the user was told, */
    uint64_t lost_ms;        /* and since when */
    struct endpoint address; /* numeric */
    char shm[SHM_NAME_MAX];  /* its Unix socket for shared memory */
    uint32_t first_slice;
    uint32_t slice_count;
    uint32_t first_part;
    uint32_t part_count;
    uint64_t resend_at_ms; /* 0: nothing is to be sent again */
    bool resend_pushes;    /* then pushes too, some of which it has not taken */
    bool asked_again;      /* pulls alone were sent again without an answer: next time everything */
    uint64_t resend_wait_ms;
    uint64_t busy_wait_ms;
    uint64_t ask_first;       /* request number of the first question that was asked last; 0: none was */
    uint32_t ask_nodes;       /* of plane.sent, which it is about */
    uint32_t ask_open;        /* pieces about which there is no answer */
    uint64_t ask_received;    /* bytes that had come by all lanes when it was asked */
    uint64_t stuck_notice_ms; /* next time a person is told that nothing arrives; 0: everything does */
};

/* People know the shard by this. */
const char *shard_name(const struct shard *shard);
/* The connection that messages about a piece go by. */
struct link *shard_lane(const struct plane *plane, struct shard *shard, uint32_t piece);
/* Sends a message about a piece, as link_send. If it was not sent, it is due again later. */
DP_MUST_CHECK dp_err shard_post(struct plane *plane, struct shard *shard, uint32_t piece, const Dp__Header *header,
                                zmq_msg_t *payload, size_t count);
/* The next message that has come from the shard, as link_receive. */
DP_MUST_CHECK dp_err shard_receive(struct shard *shard, struct arena *arena, struct link_message *ret_message,
                                   bool *ret_any, dp_error *err);
/* Sends again at that time, or earlier if that was said before; `pushes`: not pulls alone. */
void shard_resend_at(struct shard *shard, uint64_t at_ms, bool pushes);
/* Sends everything again when the shard may be free: after BUSY, or if memory was short. */
void shard_resend_later(struct plane *plane, struct shard *shard);
/* A connection of the shard was made anew: finds out what was lost with it and sends that again, now. */
void shard_lane_lost(struct plane *plane, struct shard *shard);

#endif
