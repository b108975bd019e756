/* A shard: the slices of its range, its parts of tables (rows.h), pulls that wait, and what it tells the head.
 * Shared-nothing: no lock, no state of another shard. Knows sessions by number and replies through callbacks; sockets
 * and bytes are shard_port's.
 *
 * Invariants:
 *   1. A pull is answered at once, parked, or refused; a session has at most one parked pull per slice, its latest.
 *   2. A push is answered only if it is refused. A duplicate push is dropped in silence and its pull is answered all
 * the same.
 *   3. low, the steps complete on all slices, never goes back; each is told to the head once, in order.
 * Thread: shard. */
#ifndef DP_SERVER_SHARD_SHARD_H
#define DP_SERVER_SHARD_SHARD_H

#include "server/dense/slice.h"
#include "server/link/event.h"
#include "server/link/setting.h"
#include "server/shard/counters.h"
#include "server/shard/parked.h"
#include "server/shard/phases.h"
#include "server/shard/roster.h"
#include "server/table/part.h"

/* A checked message: one node of a step, or a pull, or both. */
struct push_pull {
    uint32_t session;
    uint64_t request;
    uint32_t slice; /* index within the shard */
    bool push;
    uint64_t step;
    uint32_t node; /* heap number */
    struct metrics metrics;
    uint64_t read; /* 1 + number of the version that the push was computed on, 0 if that is not known */
    bool pull;
    uint64_t pull_step;
    uint64_t have; /* 1 + number of the version held, 0 for none */
};

/* theta of a slice for a step. `version` is borrowed for the call, NULL where no payload is sent (unchanged, last). */
struct params {
    uint32_t session;
    uint64_t request;
    uint32_t slice;
    uint64_t step;
    uint64_t number;
    struct version *version;
    bool last;
    uint32_t staleness;      /* of the step; more than 0: its slots commit on arrival, and are pushed one by one, */
    const uint8_t *accepted; /* those that have been, of steps_accepted; borrowed for the call */
    size_t accepted_bytes;
};

/* Why a message is refused. */
struct refusal {
    uint32_t session;
    uint64_t request;
    uint32_t slice; /* or part, as its id on the wire is */
    dp_err code;
    uint64_t step; /* the one to go on with */
    const char *text;
    const uint8_t *accepted; /* of the step that was pushed to, as in params */
    size_t accepted_bytes;
    uint64_t keys;  /* KEYS_UNKNOWN: hash of the list */
    bool not_dealt; /* REFUSED: slots of the push are not dealt to the session */
};

/* Rows of a part for a step. */
struct rows_params {
    uint32_t session;
    uint64_t request;
    uint32_t part; /* id in the job */
    uint64_t step;
    uint64_t number;
    uint64_t keys; /* hash of the list, and its rows */
    uint32_t count;
    float *values; /* heap, the receiver's, or where `room` was; NULL: no payload */
    size_t bytes;
    bool shared; /* the values are in the room of the session, at */
    uint64_t at;
    bool unchanged, last;
};

struct shard_calls {
    void (*params)(void *arg, const struct params *params);
    void (*refuse)(void *arg, const struct refusal *refusal);
    /* A node of `step` has come to the job's first slice, first or after others. */
    void (*arrived)(void *arg, uint32_t session, uint64_t step, uint32_t node);
    /* Reserves `bytes` in the session's ring; *ret_at is the offset. NULL: send the rows in the message. */
    float *(*room)(void *arg, uint32_t session, uint64_t bytes, uint64_t *ret_at);
    void (*rows)(void *arg, const struct rows_params *rows);
    /* News for the head, which owns what the event owns. FAILED comes at most once: the shard takes nothing and commits
     * nothing any more. */
    void (*emit)(void *arg, const struct event *event);
    void *arg;
};

/* The parts of tables that a shard holds. */
struct shard_tables {
    uint32_t first_part; /* id of parts[0] in the job */
    uint32_t count;
    struct part *parts;
    struct parked_list *parked; /* [count] */
    struct rowcache cache;
};

struct shard {
    uint32_t id;
    bool failed;                     /* and the head has been told: its job ends */
    struct planes planes;            /* for versions that workers map; made before shard_start, or zeroed */
    const struct shard_job *job;     /* &own, NULL until the job is settled */
    struct shard_job own;            /* the job's, with this shard's copy of what may be set */
    struct schedule_past past_rates; /* learning rates of steps long ago, where there are tables */
    uint32_t first_slice;            /* id of slices[0] in the job */
    uint32_t slice_count;
    struct slice *slices;
    struct parked_list *parked; /* [slice_count] */
    uint64_t barrier;           /* no step from here on is committed, or opened on arrival; UINT64_MAX: none */
    uint64_t low;               /* steps complete on all slices */
    uint64_t global_low;        /* steps complete on all shards, as the head announced */
    uint64_t total_steps;
    struct global global;
    struct roster roster;
    struct shard_tables tables;
    struct metrics
        first_metrics[SLICE_VERSIONS]; /* of the first slice, else part, of steps >= low, at step % SLICE_VERSIONS */
    uint8_t accepted[STEPS_ACCEPTED_BYTES]; /* scratch of answers */
    struct shard_counters *counters;
    struct shard_calls calls;
};

void shard_init(struct shard *shard, uint32_t id, struct shard_counters *counters, const struct shard_calls *calls);
void shard_fini(struct shard *shard);

/* The job is settled: makes the slices (`slices[count]`, ranges of theta). DP_NOMEM. */
DP_MUST_CHECK dp_err shard_start(struct shard *shard, const struct shard_job *job, uint32_t first_slice,
                                 const struct range *slices, uint32_t count, dp_error *err);
/* A checked message; the gradient is taken. */
void shard_push_pull(struct shard *shard, const struct push_pull *msg, struct blob *gradient);
/* The head announces that all shards have completed the steps before `low`. */
void shard_global_low(struct shard *shard, uint64_t low);
/* What the shard handed in as `sums` comes to over all shards, [tensor][value]. */
void shard_totals(struct shard *shard, uint64_t step, uint32_t phase, const double *totals);
/* Step-stamped control (control.c), first half: the shard promises to commit nothing of a step >= the one
 * returned, which is `step`, or if that is later the first that it has not begun to commit; for a change of
 * consistency, the first that is not open, and to open none from there on. Until shard_set. */
uint64_t shard_prepare(struct shard *shard, uint64_t step, enum setting_kind kind);
/* Second half, once all shards have promised the same step: the setting holds from it on, and the promise is kept. */
void shard_set(struct shard *shard, uint64_t step, const struct setting *setting);
/* The open step of a slice is taken up for its commit: its gradients have waited until now. */
void shard_take_up(struct shard *shard, struct slice *slice);
/* All shards have the steps before `go`, so that they may be committed. */
void shard_go(struct shard *shard, uint64_t go);
/* Whether the slice's open step may be committed now. */
bool shard_may_commit(const struct shard *shard, const struct slice *slice);
/* The session is over: nothing is parked for it any more. */
void shard_forget(struct shard *shard, uint32_t session);
/* The session that brought the first gradient that was not finite, if a slice knows it. */
struct blame shard_blame(const struct shard *shard);
/* Slots that any slice or part is owed at the first step that is not complete here, to owed[K], ascending;
 * returns how many and the step. */
uint32_t shard_owed(const struct shard *shard, uint64_t *ret_step, uint32_t *owed);

/* ---- for the files of the shard ---- */

/* Tells the head, the first time. What was to be committed may be half done: nothing is, from now on. */
void shard_fail(struct shard *shard, const dp_error *err);
/* Hands sums to the head. */
void shard_sums(struct shard *shard, const struct event_sums *sums);
/* What has become of a node that was offered to a slice or part (`piece`, its id in the job): it is counted, and the
 * head is told if the job's first piece needed it. False where its step is not open. */
bool shard_offered(struct shard *shard, enum steps_verdict verdict, uint32_t piece, uint32_t session, uint64_t step,
                   uint32_t node);
/* Answers what was parked for steps of a slice that are open now. */
void shard_unpark(struct shard *shard, uint32_t index);
/* Commits a slice's steps that can be, and answers those who wait for them. */
void shard_advance(struct shard *shard, uint32_t index);

/* Tells the head of the steps that have become complete on all slices and parts. */
void shard_raise_low(struct shard *shard);

#endif
