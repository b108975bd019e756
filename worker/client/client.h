/* The state of a client, shared by its modules and by their tests; users of the library see dp.h.
 *
 *   client.c          the calls of dp.h
 *   wait.c     waiting for the next step: deadlines and what people are told
 *   session.c  finding the head, hello, join, and doing it again
 *   head.c     messages of the head
 *   reach.c    finding a shard, and saying that it cannot be reached
 *   join.c     what a worker brings to a job
 *   step.c     the step at hand: values held, folded, sent
 *   finite.c   gradients that are not finite
 *   plane_open.c   connections to the shards
 *   plane.c    pushes and pulls over the shards, sending again; messages of the shards
 *   ask.c      what a shard lacks
 *   outage.c   interruptions of the way to the server
 *   plane_rows.c   the messages of tables
 *   share.c    memory shared with the shards
 *   worker/client/state/duty.c, worker/client/state/open_steps.c, worker/client/state/fold.c,
 * worker/client/state/theta.c, worker/client/state/views.c, worker/client/state/layout.c, worker/client/state/tables.c,
 * worker/client/state/rows.c   decisions and state without a network
 *   proto/link.c, common/net/path.c, beat.c, common/net/endpoint.c, worker/client/state/slab.c, shm.c,
 * worker/client/state/rings.c sockets, heartbeats, addresses, buffers
 *
 * Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_CLIENT_H
#define DP_WORKER_CLIENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <zmq.h>

#include "common/net/endpoint.h"
#include "proto/frame.h"
#include "proto/link.h"
#include "worker/client/beat.h"
#include "worker/client/proof.h"
#include "worker/client/shm.h"
#include "worker/client/state/duty.h"
#include "worker/client/state/fold.h"
#include "worker/client/state/layout.h"
#include "worker/client/state/open_steps.h"
#include "worker/client/state/slab.h"
#include "worker/client/state/tables.h"
#include "worker/client/state/theta.h"
#include "worker/dp.h"

/* Waits, in ms; tests make them short. */
struct client_timing {
    uint64_t poll;        /* longest single wait: how soon config.stop is seen */
    uint64_t retry;       /* first wait between attempts to reach a server; doubles */
    uint64_t retry_max;   /* ... up to this */
    uint64_t ask_again;   /* hello and join are sent again after so long without an answer */
    uint64_t resend;      /* pushes and pulls without an answer are sent again after so long; doubles */
    uint64_t resend_max;  /* ... up to this */
    uint64_t busy;        /* wait after BUSY; doubles */
    uint64_t busy_max;    /* ... up to this */
    uint64_t shard_lost;  /* a shard that is lost for so long is looked for in a new session */
    uint64_t notice;      /* a person is told of trouble this often */
    uint64_t wait_notice; /* a person is told what a step waits for; doubles */
};
extern const struct client_timing CLIENT_TIMING;

/* A value of a node: held, or sent and kept until the step is complete. */
struct node_value {
    struct slab *slab; /* NULL at evaluation steps, and where nothing is held */
    struct row_list
        *list; /* rows of the slab behind the dense tensors, one reference; NULL where there are no tables */
    dp_metrics metrics;
};

struct sent_node {
    struct fold_node node;
    struct node_value value;
};

/* A shard that has parameters. Where these are several slices it has FRAME_LANES connections, since TCP's control of
 * congestion and the waiting for a window are each connection's own; see shard_lane. */
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
    uint32_t ask_nodes;       /* of client->sent, which it is about */
    uint32_t ask_open;        /* pieces about which there is no answer */
    uint64_t ask_received;    /* bytes that had come by all lanes when it was asked */
    uint64_t stuck_notice_ms; /* next time a person is told that nothing arrives; 0: everything does */
};

/* A hello or join under way. */
struct session_question {
    uint64_t request; /* 0: none */
    Dp__Header__BodyCase awaited;
    bool answered;
    dp_error refusal;                  /* code != DP_OK: the answer was an error */
    struct client_challenge challenge; /* of the refusal */
    bool waited;                       /* the server asked us to come again, and we did */
    bool hang_up;                      /* BUSY: not on this connection again */
};

struct dp_client {
    struct client_timing timing;
    pid_t process; /* that of dp_connect */
    /* what the user said */
    char *server;
    char *name;
    char *secret_file; /* NULL: the usual one */
    uint64_t connect_timeout_ms;
    uint64_t server_timeout_ms;
    uint32_t threads;
    dp_shm shm_mode;
    const volatile int *stop;
    void (*notice)(void *arg, const char *text);
    void *notice_arg;
    Dp__Join *join; /* copy of what was brought to dp_join */

    /* the session */
    void *zmq;
    struct endpoint head;         /* as the user named it */
    struct endpoint head_address; /* numeric */
    struct link head_link;
    struct beat beat;
    struct arena arena;
    uint64_t worker_id;
    uint64_t session;
    uint64_t incarnation;
    uint64_t features;             /* FRAME_FEATURE_ bits that the server knows as well */
    char host[FRAME_NAME_MAX + 1]; /* where the server runs; empty: it shares no memory */
    uint64_t request;
    uint32_t heartbeat_ms;
    bool joined;
    bool rejoin;           /* the session is lost: hello and join again before anything else */
    uint32_t outages_seen; /* of beat.outages */
    uint64_t look_ms;      /* next look at the connections */
    struct session_question question;
    dp_error busy;            /* code != DP_OK: why the server could not take us when it last answered, */
    uint64_t busy_begin_ms;   /* and since when we ask it */
    uint64_t rejoin_begin_ms; /* of a row of rejoins without progress, and the wait before the next; 0: no such row */
    uint64_t rejoin_wait_ms;
    uint64_t rejoined_ms;          /* since when the session holds that was taken up last; 0: it has not been */
    dp_job view;                   /* what the user sees: of welcome_job, after dp_join of job */
    struct client_job welcome_job; /* of the first Welcome */
    bool anew;                     /* which no longer holds, and we have not joined: the user must connect again */
    struct client_job job;         /* of the first Joined */
    struct job_layout layout;      /* of the last Joined; its slices move to theta */
    dp_error end;                  /* code != DP_OK: the job is over for this client, and why */

    /* waiting */
    uint64_t heard_ms; /* last message of anyone, heartbeats apart */
    uint64_t awake_ms; /* last turn of a waiting loop, and the first of those without a gap: */
    uint64_t awake_since_ms;
    uint64_t silence_notice_ms; /* next time a person is told that the head is silent; 0: not silent */
    uint64_t progress_ms;       /* something came for the step */
    uint64_t wait_notice_ms;    /* next time a person is told what is waited for, and the gap to the one after */
    uint64_t wait_notice_gap_ms;
    struct link **links;  /* the head's and the shards' */
    struct pollfd *items; /* [2 * link_count] scratch of links_wait */
    size_t link_count;

    /* the step */
    struct shard *shards;
    uint32_t shard_count;
    struct theta theta;
    struct tables tables;
    struct slab_pool slabs;
    struct client_shm shm;
    uint64_t *done; /* [theta.piece_count] pushes of steps before this are no longer read; NULL where no memory is
                     * shared */
    struct duty duty;
    struct arrival arrival;
    struct fold fold;
    bool eval;                /* the step is an evaluation: pushes without values */
    uint64_t undealt_request; /* no earlier request than this one is looked at if it is refused as not dealt */
    bool pulled;              /* the next step's theta has been asked for */
    bool closed;              /* the step is complete without us: nothing is owed any more */
    struct node_value *held;  /* per slot, of nodes whose sibling is to come */
    struct sent_node *sent;   /* of this step, job.view.slots at most */
    uint32_t sent_count;
    uint32_t *task_slots;
    uint64_t busy_since_us; /* the task was taken, or its last slot handed in */
};

/* client.c */

/* Tells the user's notice function, if there is one. */
void client_notice(struct dp_client *client, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool client_stopped(const struct dp_client *client);
/* A code with a text of the peer's, or the code's own where that is empty. */
void client_error_set(dp_error *err, dp_err code, const char *text);
/* Remembers the first reason for which the job is over for this client. */
void client_end(struct dp_client *client, dp_err code, const char *text);

/* join.c */

/* Deep copy of what a worker brings, as the message that says it; no data sets where it keeps its data to itself.
 * DP_USAGE for what no server takes, DP_NOMEM. Freed by
 * dp__join__free_unpacked. */
DP_MUST_CHECK dp_err join_new(const dp_dataset *train, const dp_dataset *eval, const dp_model *model,
                              Dp__Join **ret_join, dp_error *err);

/* wait.c */

/* Looks, without waiting, for which links something has arrived. DP_SYSTEM. */
DP_MUST_CHECK dp_err client_look(struct dp_client *client, dp_error *err);
/* Waits a short while for something to arrive; sends again what is due and tells the user what takes long.
 * DP_UNREACHABLE where the server has been silent for too long, DP_STOPPED. */
DP_MUST_CHECK dp_err client_wait(struct dp_client *client, dp_error *err);
/* How long the head may be silent before that is news. */
uint64_t client_patience_ms(const struct dp_client *client);
/* Whether the head has been heard of lately. */
bool client_head_alive(struct dp_client *client);

/* session.c: these wait. All end with DP_STOPPED when the user's stop flag is set. */

/* Finds an address at which a server can be reached, trying again with backoff and telling the user why it fails.
 * DP_UNREACHABLE after the deadline, ending with the hint. */
DP_MUST_CHECK dp_err session_reach(struct dp_client *client, const struct endpoint *endpoint, const char *hint,
                                   uint64_t deadline_ms, struct endpoint *ret_address, dp_error *err);
/* A pause of `ms` in pieces that see the stop flag. */
DP_MUST_CHECK dp_err session_back_off(const struct dp_client *client, uint64_t ms, dp_error *err);
/* Finds the head, says hello and starts the heartbeats. */
DP_MUST_CHECK dp_err session_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err);
/* Sends client->join and waits for the job; sets up everything that depends on it. DP_HELLO_REQUIRED where the session
 * is lost. */
DP_MUST_CHECK dp_err session_join(struct dp_client *client, uint64_t deadline_ms, dp_error *err);
/* After the session was lost: hello and join again, on new sockets; what is unanswered is sent again. */
DP_MUST_CHECK dp_err session_rejoin(struct dp_client *client, dp_error *err);
/* Says goodbye, for the server's log. A server that cannot be told finds out by itself. */
DP_MUST_CHECK dp_err session_bye(struct dp_client *client, dp_err code, const char *text);
enum { BYE_LINGER_MS = 1000 }; /* for session_close: a goodbye goes out */
void session_close(struct dp_client *client, int linger_ms);
/* Takes all messages of the head that are there, and looks at the connection. DP_PROTO for one that is none. */
DP_MUST_CHECK dp_err session_drain(struct dp_client *client, dp_error *err);
/* A header of this session with the next request number. */
Dp__Header session_header(struct dp_client *client);
/* Whether a message's header belongs to this session's incarnation of the job. */
bool session_owns(const struct dp_client *client, const Dp__Header *header);

/* reach.c */

/* Finds an address of a shard. Where that fails the user is told, the session is ended with the reason, and it is tried
 * until the deadline, at first until --connect-timeout: DP_UNREACHABLE then, naming the shard; DP_HELLO_REQUIRED where
 * it can be reached after all, for a session anew, or where the head cannot. */
DP_MUST_CHECK dp_err shard_reach(struct dp_client *client, uint32_t number, const struct endpoint *endpoint,
                                 uint64_t deadline_ms, struct endpoint *ret_address, dp_error *err);

/* plane.c */

/* Connects to the shards of client->layout, and takes over its slices. */
DP_MUST_CHECK dp_err plane_open(struct dp_client *client, uint64_t deadline_ms, dp_error *err);
/* Closes the connections; theta and what was sent stay. */
void plane_close(struct dp_client *client);
/* Sends the newest sent node to all slices that lack the next theta, asking for it if `pull`. */
void plane_push(struct dp_client *client, bool pull);
/* Asks all slices for the theta wanted. */
void plane_pull(struct dp_client *client);
/* Asks for the rows of slots that came late. */
void plane_pull_more(struct dp_client *client);
/* Sends again whatever is due. */
void plane_resend_due(struct dp_client *client, uint64_t now_ms);
/* Everything is due now. */
void plane_resend_all(struct dp_client *client);
/* Whether any slice of the shard lacks the theta wanted. */
bool plane_missing(const struct dp_client *client, const struct shard *shard);
/* Takes the messages of the shards that are there, up to the one that makes theta whole. DP_PROTO. */
DP_MUST_CHECK dp_err plane_drain(struct dp_client *client, dp_error *err);
/* The connection that messages about a piece go by: all by the first where memory is shared, since what lies in a
 * session's ring must be told in order. */
struct link *shard_lane(const struct dp_client *client, struct shard *shard, uint32_t piece);
/* Sends again to the shard when it may be free: after BUSY, or where memory was short. */
void plane_resend_later(struct dp_client *client, struct shard *shard);
/* What a message says of a node of the step. */
void plane_metrics(const struct sent_node *node, Dp__Metrics *metrics);

/* For the files of the plane: how many pieces the shard has; the id of its i-th, slices of all shards first; whether
 * theta wanted lacks it; one message about it, in which `node` may be NULL. */
uint32_t plane_pieces_of(const struct shard *shard);
uint32_t plane_piece(const struct dp_client *client, const struct shard *shard, uint32_t i);
bool plane_piece_missing(const struct dp_client *client, uint32_t piece);
void plane_piece_send(struct dp_client *client, struct shard *shard, uint32_t piece, const struct sent_node *node,
                      bool pull);
/* A connection of the shard was made anew: finds out what was lost with it and sends that again, now. */
void plane_lane_lost(struct dp_client *client, struct shard *shard);

/* ask.c */

/* A connection that is new: lets the server know whose it is. It closes those that have said nothing for a minute. */
void ask_greet(struct dp_client *client, struct shard *shard, uint32_t lane);
/* Whether the shard is asked before anything is sent to it again; `lost`: a connection was made anew, or it refused
 * something. */
bool ask_first(const struct dp_client *client, const struct shard *shard, bool lost);
/* Asks about all pieces that are missing, on arrival about all that were pushed to. */
void ask_send(struct dp_client *client, struct shard *shard);
/* An answer: sends again what the shard lacks. */
void ask_take(struct dp_client *client, struct shard *shard, const Dp__Header *header);

/* outage.c */

/* Whether nothing got through to the head for a while, and it does now: all connections are to be made anew. */
bool outage_is_over(struct dp_client *client);
/* All connections are new. */
void outage_forget(struct dp_client *client);
/* Makes all connections anew, in the same session, or in another where that is over. As session_rejoin. */
DP_MUST_CHECK dp_err outage_resume(struct dp_client *client, dp_error *err);
/* Looks now and then whether bytes arrive, and makes a connection anew where they do not. */
void outage_look(struct dp_client *client, uint64_t now_ms);
/* The shard is about to be asked (again): likewise where nothing has come of it since the last question. */
void outage_unanswered(struct dp_client *client, struct shard *shard, uint64_t now_ms);

/* plane_rows.c */

/* One message about a part of the shard's: pushes a node, which may be NULL, and with `pull` asks for the rows wanted.
 */
void rows_send(struct dp_client *client, struct shard *shard, uint32_t part, const struct sent_node *node, bool pull);
/* Asks all shards for rows of slots that came late, as far as they lack. */
void rows_pull_more(struct dp_client *client, struct shard *shard);
/* Takes rows. DP_PROTO. */
DP_MUST_CHECK dp_err rows_take(struct dp_client *client, struct shard *shard, const struct link_message *message,
                               bool *ret_new, dp_error *err);
/* The shard has forgotten a list of ids. */
void rows_keys_unknown(struct dp_client *client, const Dp__Error *error);

/* share.c */

/* Shares memory with the shards if that is wanted and can be. With DP_SHM_ON the reason why it cannot: DP_REFUSED.
 * DP_HELLO_REQUIRED where the session is lost. */
DP_MUST_CHECK dp_err share_open(struct dp_client *client, dp_error *err);
/* With the session. */
void share_close(struct dp_client *client);
/* A shard says how far it is with the pushes of a slice, or a part. */
void share_take(struct dp_client *client, uint32_t piece, uint64_t done);
/* By which number the shards know a slab, for the message that pushes it: 1 + it, or 0 where they cannot read it. */
uint32_t share_name(struct dp_client *client, struct slab *slab);
/* What lies in the shard's ring: see rings_at. */
DP_MUST_CHECK dp_err share_rows(struct dp_client *client, const struct shard *shard, const Dp__Rows *rows,
                                uint64_t bytes, const void **ret_values, dp_error *err);
/* What lay there before `end` has been read. */
void share_rows_taken(struct dp_client *client, const struct shard *shard, uint64_t end);
/* Up to where rows of the shard's ring have been read. */
uint64_t share_taken(const struct dp_client *client, const struct shard *shard);
/* Which slabs are free follows from how far all are. */
void share_count_done(struct dp_client *client);

/* finite.c */

/* DP_DATA, naming the element, where a gradient of at most 2^20 values has one that is not finite while its loss is;
 * `list`: the rows behind the dense tensors, or NULL. */
DP_MUST_CHECK dp_err gradient_check(const struct dp_client *client, uint32_t slot, const struct node_value *value,
                                    const struct row_list *list, dp_error *err);

/* step.c */

/* Makes room for the steps of the job. DP_NOMEM. */
DP_MUST_CHECK dp_err step_init(struct dp_client *client, dp_error *err);
void step_fini(struct dp_client *client);
/* Begins the step of client->theta.now. */
void step_begin(struct dp_client *client);
/* Takes up what the assignments say of this step. */
void step_owe(struct dp_client *client);
/* Takes up an assignment that has just come: on arrival it may lead back to an earlier step, even while this worker
 * waits for a later one. */
void step_assigned(struct dp_client *client, const struct duty_assign *assign);
/* Slots that were sent are dealt to others by now: what is dealt here at this step is computed anew, and sent again. */
void step_anew(struct dp_client *client);
/* The first step whose assignments still matter. */
uint64_t step_floor(const struct dp_client *client);
/* The steps before `low` are complete, and this one with them if it is one of those: goes on. */
void step_complete(struct dp_client *client, uint64_t low);
/* Gives up this step and wants theta of `want`. */
void step_skip_to(struct dp_client *client, uint64_t want);
/* theta is gone: what was computed on it is forgotten. */
void step_lose(struct dp_client *client);
/* Forgets theta and all that was computed: another incarnation of the job. What the head has assigned meanwhile
 * stays. */
void step_forget(struct dp_client *client);
/* Slots to compute now go to client->task_slots; returns how many. Where there are tables, client->tables.task is their
 * group. */
uint32_t step_task(struct dp_client *client);
/* Nothing is to be computed: asks for what is lacking, rows of slots that came late or theta of the next step.
 * DP_NOMEM, or what the user says of rows. */
DP_MUST_CHECK dp_err step_ask(struct dp_client *client, dp_error *err);
/* Floats of theta and of a gradient of the task at hand. */
uint64_t step_task_elems(const struct dp_client *client);
/* Hands in a slot's value, which is taken; sends what has become ready. */
DP_MUST_CHECK dp_err step_hand_in(struct dp_client *client, uint32_t slot, struct node_value value, dp_error *err);

#endif
