/* A shard's thread: its uv loop, its ROUTER socket, the sessions it knows, and the two queues to and from the head.
 * Turns messages into calls of the shard's core and back. Payloads of pushes are kept where libzmq received them;
 * replies refer to the version itself: neither is copied. Thread: functions are the head's; the rest runs on the
 * shard's own. */
#ifndef DP_SERVER_NET_THREAD_H
#define DP_SERVER_NET_THREAD_H

#include <uv.h>

#include "common/base/log.h"
#include "common/net/zuv.h"
#include "common/net/zuv_bind.h"
#include "proto/frame.h"
#include "proto/frame_limits.h"
#include "proto/frame_rows.h"
#include "server/deal/grants.h"
#include "server/deal/session.h"
#include "server/net/post.h"
#include "server/net/shm_door.h"
#include "server/shard/grave.h"
#include "server/shard/queue.h"
#include "server/shard/shard.h"
#include "server/shard/shm_session.h"
#include "server/table/copy.h"

enum {
    PORT_ENDPOINT_MAX = 128,
    PORT_REPLY_QUEUE = 4096, /* messages that may wait for a peer to read them */
};

/* Head to shard. */
struct command {
    enum {
        COMMAND_START,
        COMMAND_RESET, /* the job is settled anew: as before START */
        COMMAND_OPEN,
        COMMAND_CLOSE,
        COMMAND_GRANT,
        COMMAND_PIN,
        COMMAND_OWED,
        COMMAND_TOTALS,
        COMMAND_PREPARE,
        COMMAND_SET,
        COMMAND_ROSTER,
        COMMAND_GO,
        COMMAND_DROP,
        COMMAND_STOP
    } kind;
    uint64_t session; /* OPEN, CLOSE: token */
    uint64_t worker;  /* OPEN: the process's own number, and its name, heap, the receiver's */
    char *name;
    struct deal *deal; /* GRANT: heap, the receiver's */
    uint64_t pin;      /* PIN: its number, which the event has as well */
    uint64_t fence;    /* CLOSE: its number, ascending */
    uint64_t step;  /* PIN: the step whose theta is wanted; TOTALS; PREPARE, SET: the step it holds from; GO; DROP: the
                       one that slots are left out of */
    uint32_t phase; /* TOTALS */
    double *totals; /* TOTALS: heap, the receiver's */
    struct setting setting; /* SET; PREPARE: its kind */
    uint64_t roster;        /* ROSTER: its number, and its slots, [slots], heap, the receiver's */
    uint8_t *live;          /* DROP: as well, and how many slots are left out */
    uint32_t dropped;
    /* START: all in one block of memory, the receiver's */
    void *block;
    const struct shard_job *job;
    uint64_t incarnation;
    uint32_t first_slice;
    uint32_t slice_count;
    const struct range *slices;
    uint32_t first_part;
    uint32_t part_count;
    const struct part_range *parts;
    enum shm_mode shm;
};

/* Shard to head. */
struct event {
    enum {
        EVENT_COMPLETED,
        EVENT_PINNED,
        EVENT_OWED,
        EVENT_FAILED,
        EVENT_SUMS,
        EVENT_PREPARED,
        EVENT_READY,
        EVENT_FEW
    } kind;
    uint64_t incarnation; /* of the job that it is of */
    uint64_t step; /* COMPLETED, PINNED, OWED, SUMS, FEW; PREPARED: the one promised; READY: the first not ready */
    struct metrics metrics; /* COMPLETED */
    uint64_t pin;           /* PINNED: number of the command */
    struct version *
        *pinned; /* PINNED: one reference each, per slice of the shard; heap, the receiver's. NULL: not held */
    struct rows_copy *copies; /* PINNED: per part of the shard; heap, the receiver's. NULL: not held */
    uint32_t pinned_count, copies_count;
    uint32_t *owed; /* OWED: slots, heap, the receiver's */
    uint32_t owed_count;
    dp_error *failed;   /* FAILED: heap, the receiver's */
    struct blame blame; /* COMPLETED, with a loss that is not finite: who brought the gradient */
    uint64_t roster;    /* READY: by which roster */
    uint32_t phase;     /* SUMS: as shard_calls.sums */
    uint32_t values;
    double *sums; /* heap, the receiver's */
};

/* A node that came to the job's first slice, needed or too late: what the head knows of who is where. */
struct arrival {
    uint32_t session; /* number */
    uint32_t node;
    uint64_t step;
    uint64_t at_us; /* monotonic */
};

/* A connection of a session, as ROUTER knows it. */
struct port_way {
    uint8_t id_bytes;
    uint8_t id[ROUTING_ID_MAX];
};

struct port_session {
    uint64_t token;                    /* 0: none */
    struct port_way ways[FRAME_LANES]; /* where messages of each lane's pieces came from last: so go answers */
    _Atomic uint64_t unsent_bytes;     /* of replies that libzmq still holds */
    struct shm_session *shm;           /* NULL: its worker shares no memory */
    uint64_t worker;                   /* these three also after its end, for the next session of its worker */
    char *name;                        /* heap */
    struct grants grants;              /* slots that it may push */
};

struct reply_lease;
struct kept_frame;

struct port {
    uint32_t id;
    char endpoint[PORT_ENDPOINT_MAX];
    struct shard shard;
    struct shard_counters counters;
    struct queue commands, events;
    struct queue arrivals;       /* to the head as well; they give a picture only: when it is full they are left out */
    _Atomic uint64_t global_low; /* steps complete on all shards, announced by the head */
    _Atomic uint64_t fenced;     /* the latest fence that this shard knows */
    _Atomic uint64_t all_fenced; /* the latest that all shards know, announced by the head */
    uv_async_t wake;
    uv_async_t *wake_head;
    struct post *post;     /* the head shares the socket; NULL: it has its own */
    uv_timer_t tell_later; /* runs while a completed step waits to be told */
    uint64_t told_ns;      /* when the head was last woken */
    uv_loop_t loop;
    uv_thread_t thread;
    bool running;
    struct zuv zuv;
    uint64_t incarnation;
    struct grave *graves; /* of jobs before this one */
    uint64_t reply_budget_bytes;
    struct port_session *sessions; /* [SESSIONS_MAX] */
    struct arena arena;
    struct log_limit malformed_limit, budget_limit, grant_limit;
    struct shm_door door;
    struct shm_session *over; /* sessions whose fence some shard may not know */
    uint64_t *slice_elems;    /* [slice_count], for frame_limits */
    struct frame_limits limits;
    struct frame_rows_limits rows_limits;   /* its parts: [part_count] */
    _Atomic(struct reply_lease *) returned; /* by libzmq's threads */
    struct reply_lease *leases;             /* free ones */
    struct kept_frame *frames;              /* free ones */
};

/* Where a port listens. */
struct port_place {
    const char *listen;     /* port 0: a free one */
    struct zuv_ports ports; /* instead of its port, unless .first is 0 */
    struct post *post;      /* of a head that shares the socket, or NULL */
    const char *shm;        /* name of its socket for shared memory */
    enum shm_mode mode;
};
/* Binds and starts the thread. Events wake `wake_head`. DP_SYSTEM, DP_NOMEM; DP_BUSY where all its ports are in use. */
DP_MUST_CHECK dp_err port_start(struct port *port, uint32_t id, void *zmq_context, const struct port_place *place,
                                uv_async_t *wake_head, dp_error *err);
/* False if the queue is full: nothing was sent. */
bool port_send(struct port *port, const struct command *command);
/* Tells the shard how far all shards are. */
void port_announce_low(struct port *port, uint64_t global_low);
/* Tells the shard which fence all shards know. */
void port_announce_fence(struct port *port, uint64_t fence);
/* Stops the thread, closes its socket and waits for both. libzmq may hold replies until its context is terminated. */
void port_stop(struct port *port);
/* Once libzmq's context is terminated: frees all. Events that are left are dropped with what they carry. */
void port_fini(struct port *port);

/* ---- for the files of the port ---- */

/* events.c: tells the head; it is woken at once, but for steps that nobody waits for. The others are calls of
 * the shard's core, `arg` is the port. */
void port_tell(struct port *port, const struct event *event);
void port_tell_completed(void *arg, uint64_t step, const struct metrics *metrics);
void port_tell_arrived(void *arg, uint32_t session, uint64_t step, uint32_t node);
void port_tell_failed(void *arg, const dp_error *err);
void port_tell_sums(void *arg, uint64_t step, uint32_t phase, uint32_t values, double *sums);
void port_tell_ready(void *arg, uint64_t ready, uint64_t roster);
void port_tell_few(void *arg, uint64_t step);

/* receive.c: a message of a peer. */
void port_on_message(void *arg, zmq_msg_t *frames, size_t count);
/* What messages about slices and about parts of tables say alike, as the shard's core has it. */
#define PORT_EXCHANGE(header, m)                                                                                      \
    .session = session_number((header)->session), .request = (header)->request, .push = (m)->push, .step = (m)->step, \
    .pull = (m)->pull, .pull_step = (m)->pull_step, .have = (m)->have, .metrics = port_metrics((m)->metrics)
struct metrics port_metrics(const Dp__Metrics *m);
/* Takes the payload of a message, where libzmq received it if that is aligned to floats. DP_NOMEM. */
DP_MUST_CHECK dp_err port_payload_take(struct port *port, zmq_msg_t *msg, struct blob *ret_blob);
/* Counts and logs a message that was no good. */
void port_malformed(struct port *port, const dp_error *err);
/* Frees what payloads were kept in. */
void port_payloads_fini(struct port *port);

/* reply.c: sends a header, and `payload` behind it unless NULL, which is taken. */
void port_send_frames(struct port *port, const void *id, size_t id_bytes, const Dp__Header *header, zmq_msg_t *payload);
/* Sends it the way that the session's messages about the piece come. */
void port_answer(struct port *port, const struct port_session *session, uint32_t piece, const Dp__Header *header,
                 zmq_msg_t *payload);
/* Answers the message `about` with an error; the second the way of the piece that `slice` names. */
void port_send_error(struct port *port, const void *id, size_t id_bytes, const Dp__Header *about,
                     const struct refusal *refusal);
void port_refuse(struct port *port, const struct port_session *session, const Dp__Header *about,
                 const struct refusal *refusal);
/* Whether so much is on its way to a session that it gets no more (logged). */
bool port_over_budget(struct port *port, struct port_session *session);
/* Calls of the shard's core, `arg` is the port. */
void port_reply_params(void *arg, const struct params *params);
void port_reply_refuse(void *arg, const struct refusal *refusal);
/* Once libzmq's context is terminated: frees the leases. */
void port_replies_fini(struct port *port);

/* letters.c: a message for the head, whose frames may be taken. What the head has to say. */
void port_pass_on(struct port *port, const Dp__Header *header, zmq_msg_t *frames, size_t count);
void port_send_letters(struct port *port);

/* grants.c: a session opens, by its command; it is over; what was dealt; the job is settled anew. */
void port_grants_open(struct port_session *session, const struct command *open);
void port_grants_close(struct port *port, struct port_session *session);
void port_grants_deal(struct port *port, const struct deal *deal);
void port_grants_fini(struct port *port);
/* A push, as messages about slices and about parts have it. */
struct port_push {
    uint64_t step;
    uint32_t level, index; /* its node */
    const Dp__Metrics *metrics;
    uint32_t piece;             /* its id on the wire, */
    const struct steps *window; /* and its steps */
};
/* Whether the session may push that, and the sums can be those of the node's samples. False: the peer was told. What
 * the head has said meanwhile is looked at first. */
bool port_may_push(struct port *port, const struct port_session *session, const Dp__Header *header,
                   const struct port_push *push);

/* commands.c: does what the head has asked so far. */
void port_obey(struct port *port);

/* Frees what an event of pinned parameters carries, and what any event does. */
void port_drop_pinned(struct event *event);
void port_drop_event(struct event *event);

/* shm.c. DP_SYSTEM. */
DP_MUST_CHECK dp_err port_shm_open(struct port *port, const char *name, dp_error *err);
/* Before the shard starts: makes the memory for its versions. With SHM_ON the reason why it cannot be had, else that is
 * logged. */
DP_MUST_CHECK dp_err port_shm_start(struct port *port, const struct command *start, dp_error *err);
/* Before a message of the session is looked at: whether it reads shared memory by now. */
void port_shm_hear(struct port *port, const struct port_session *session);
/* The session is over, as fence number `fence` has it. */
void port_shm_fence(struct port *port, struct port_session *session, uint64_t fence);
/* All shards know the fences up to `known`: takes back what those sessions were lent. */
void port_shm_fenced(struct port *port, uint64_t known);
/* Floats [at, at + count) of slab number `slab` - 1 of a session. DP_PROTO where it has none. */
DP_MUST_CHECK dp_err port_shm_payload(const struct port_session *session, uint32_t slab, uint64_t at, uint64_t count,
                                      struct blob *ret_payload, dp_error *err);
/* shard_calls.room: in the session's ring. */
float *port_shm_room(void *arg, uint32_t number, uint64_t bytes, uint64_t *ret_at);
/* Before the shard's slices are freed. */
void port_shm_fini(struct port *port);

/* Frees what commands and events that nobody took still carry. */
void port_drop_queues(struct port *port);

#endif
