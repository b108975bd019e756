/* The state of a shard's thread: types only. Each file of the room has the functions of one part of it. Thread: shard,
 * unless stated. */
#ifndef DP_SERVER_NET_STATE_H
#define DP_SERVER_NET_STATE_H

#include <uv.h>

#include "common/base/log.h"
#include "common/net/zuv.h"
#include "proto/frame.h"
#include "proto/frame_limits.h"
#include "proto/frame_rows.h"
#include "server/deal/grants.h"
#include "server/deal/session.h"
#include "server/link/local.h"
#include "server/net/post.h"
#include "server/net/shm_door.h"
#include "server/shard/grave.h"
#include "server/shard/shard.h"
#include "server/shard/shm_session.h"

struct carrier;
struct reply_lease;
struct kept_frame;
struct folder;
struct stream;
struct writer;

/* A connection of a session, as ROUTER knows it. */
struct port_way {
    uint8_t id_bytes;
    uint8_t id[ROUTING_ID_MAX];
};

struct port_session {
    uint64_t token;                    /* 0: none */
    struct port_way ways[FRAME_LANES]; /* source of the last message about each lane's pieces: answers go there */
    _Atomic uint64_t unsent_bytes;     /* of replies that libzmq still holds */
    const struct carrier *carrier;     /* of its payloads; set while there is a token */
    struct shm_session *shm;           /* NULL: its worker shares no memory */
    uint64_t worker;                   /* these three also after its end, for the next session of its worker */
    char *name;                        /* heap */
    struct grants grants;              /* slots that it may push */
};

/* events.c */
struct port_telling {
    uv_timer_t later; /* runs while a completed step waits to be told */
    uint64_t told_ns; /* when the head was last woken */
};

/* reply.c */
struct port_replies {
    uint64_t budget_bytes;                  /* of a session's replies under way */
    _Atomic(struct reply_lease *) returned; /* by libzmq's threads */
    struct reply_lease *leases;             /* free ones */
    struct log_limit malformed_limit, budget_limit;
};

/* A job's bounds for messages. */
struct port_limits {
    uint64_t *slice_elems; /* [slice_count], for `slices`; heap */
    struct frame_limits slices;
    struct frame_rows_limits rows; /* its parts: [part_count], heap */
};

/* shm.c, guests.c */
struct port_memory {
    struct shm_door door;
    struct shm_session *over; /* sessions whose fence some shard may not know */
};

/* cut.c */
struct port_cut {
    const struct folder *folder; /* of checkpoints, and the thread that writes them; NULL: none */
    struct writer *writer;
    bool on; /* `asked` is not answered */
    struct command_cut asked;
    struct stream *stream; /* NULL: not all pieces are kept */
};

struct port_state {
    uint32_t id;
    struct shard shard;
    struct shard_counters *counters; /* the head reads them */
    struct link_local *link;
    struct post *post; /* the head shares the socket; NULL: it has its own */
    uv_loop_t loop;
    uv_async_t *wake;
    struct zuv zuv;
    uint64_t incarnation;
    struct command_start *start;   /* of the job at hand, or NULL */
    struct grave *graves;          /* of jobs before this one */
    struct port_session *sessions; /* [SESSIONS_MAX] by number */
    struct arena arena;
    struct kept_frame *frames; /* free ones */
    struct log_limit grant_limit;
    struct port_telling telling;
    struct port_replies replies;
    struct port_limits limits;
    struct port_memory memory;
    struct port_cut cut;
};

/* A message about a piece, whichever kind: what slices and parts of tables have alike. */
struct port_message {
    const Dp__Header *header;
    uint32_t piece; /* id in the job */
    bool push;
    uint64_t step;
    uint32_t level, index;  /* the node that is pushed */
    struct metrics metrics; /* of that */
    bool pull;
    uint64_t pull_step, have;
    uint32_t slab; /* 1 + number of the one with the payload; 0: it is in the message */
};

#endif
