/* A piece of a shard: a slice of theta or a part of a table, each with a step window of its own. The shard's core
 * treats all pieces alike through one table of operations; a new kind of piece is a new table. Commit passes inside a
 * piece are direct calls: a message costs one indirect call for each thing that it asks.
 *
 * Invariant: the state of a piece changes in one function, whichever way a commit takes (`commit`, `offer` on arrival,
 * phases.h): a slice's optimizer state in commit_step (server/dense/commit.h), a part's rows in rowrule_commit
 * (server/table/rule.h). The first asserts that the commit is of an open step, the second that no record is of a later
 * one. theta of a slice is a version.
 *
 * Types only. Thread: shard. */
#ifndef DP_SERVER_SHARD_PIECE_H
#define DP_SERVER_SHARD_PIECE_H

#include "server/dense/slice.h"
#include "server/shard/parked.h"
#include "server/link/setting.h"
#include "server/table/part.h"

struct shard;
struct piece;
struct shard_file_facts;

/* The order in which what is kept of pieces lies in a file: a section has that of all pieces, then comes the next. */
enum kept_section { KEPT_THETA, KEPT_STATE, KEPT_ROWS = KEPT_STATE + UPDATE_STATE_MAX, KEPT_SECTIONS };

/* A checked message: one node of a step, or a pull, or both. */
struct push_pull {
    uint32_t session;
    uint64_t request;
    uint32_t piece; /* index within the shard: its slices, then its parts */
    bool push;
    uint64_t step;
    uint32_t node; /* heap number */
    struct metrics metrics;
    uint64_t read; /* 1 + number of the version that the push was computed on, 0 if that is not known; slices */
    bool pull;
    uint64_t pull_step;
    uint64_t have;                         /* 1 + number of the version held, 0 for none */
    struct rowlist *push_list, *pull_list; /* of a part: borrowed; NULL for no rows */
};

/* The outcome of an answer to a pull. */
enum answered {
    ANSWER_SENT,
    ANSWER_GONE, /* theta of the step is held no more */
    ANSWER_NOMEM
};

struct piece_ops {
    /* Steps of a global rule are committed by phases.h, all such pieces at once. */
    bool in_phases;
    /* Whether a push is right for its step. DP_PROTO, DP_REFUSED. */
    dp_err (*check)(const struct shard *shard, const struct piece *piece, const struct push_pull *msg,
                    const struct blob *payload, dp_error *err);
    /* A node arrives; its payload is taken if it is kept. On arrival it is committed at once. */
    enum steps_verdict (*offer)(struct shard *shard, struct piece *piece, const struct push_pull *msg,
                                struct blob *payload);
    /* Whether the open step is complete, and there is room for what its commit makes. */
    bool (*ready)(const struct piece *piece);
    /* Commits the open step, which is ready, and opens the next one. After a failure the job ends. */
    dp_err (*commit)(struct shard *shard, struct piece *piece, struct metrics *ret_metrics, dp_error *err);
    /* Whether a pull can be answered: its step is open or over; for the job's end, all steps are over. */
    bool (*pull_ready)(const struct piece *piece, uint64_t step);
    /* Answers a pull that can be. */
    enum answered (*answer)(struct shard *shard, struct piece *piece, const struct parked *pull);
    /* More than 0: the step's slots commit on arrival. */
    uint32_t (*staleness)(const struct piece *piece, uint64_t step);
    /* The step that a refused message is told to go on with. */
    uint64_t (*go_on)(const struct piece *piece, dp_err code);
    /* All shards have completed the steps before `low`. */
    void (*release_before)(struct piece *piece, uint64_t low);
    /* Steps that it may be ahead of the head's announcements. */
    uint64_t (*steps_max)(const struct piece *piece);
    /* Blocks of the piece, and their sums for the report of a completed step, heap, the caller's; NULL: it has none. */
    uint64_t (*blocks)(const struct piece *piece);
    double *(*report_take)(struct piece *piece, uint64_t step);
    /* 1 + the first step whose commit left something that is not finite; 0: none. */
    uint64_t (*infinite_from)(const struct piece *piece);
    /* The open step waits for live[slots] alone from now on. NULL: slots of such pieces are never left out. */
    void (*revise)(struct piece *piece, const uint8_t *live);
    /* Step-stamped control: the first step that a setting can still change; the step from which on no step is
     * committed, or opened (UINT64_MAX: none); room for more open steps, NULL where steps commit once. */
    uint64_t (*first_free)(const struct piece *piece, enum setting_kind kind);
    void (*hold_from)(struct piece *piece, uint64_t step, enum setting_kind kind);
    dp_err (*widen)(struct piece *piece, uint32_t staleness);
    /* The session is over. NULL: the piece keeps nothing of sessions. */
    void (*forget)(struct shard *shard, struct piece *piece, uint32_t session);
    /* Keeps the piece as it is now for a cut, while it goes on, until kept_drop, which may be called at any time: adds
     * it to the facts of the shard's file, which have room for it; gives the next bytes of a section, for their taker
     * to release, none where it has none there or has found none yet. *ret_more: others may follow. DP_NOMEM. */
    dp_err (*keep)(struct piece *piece);
    dp_err (*kept_facts)(const struct piece *piece, struct shard_file_facts *facts);
    dp_err (*kept_next)(struct piece *piece, uint32_t section, struct blob *ret_bytes, bool *ret_more);
    void (*kept_drop)(struct piece *piece);
};

struct piece {
    const struct piece_ops *ops;
    uint32_t id;          /* in the job */
    struct steps *window; /* of the slice or part */
    union {
        struct slice *slice;
        struct part *part;
    };
    struct parked_list parked; /* pulls that wait */
};

#endif
