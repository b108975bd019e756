/* The rows of tables that a client moves: groups of rows for groups of slots, and which lists of ids the shards know.
 *
 * A step's slots come in groups. Those that the worker was known to hold when it asked for the step's theta are `now`,
 * whose rows stand in theta. Slots that it was given later, those of a worker that was lost, say, are groups of `more`,
 * each with a copy of theta and the rows of its own. No network. Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_TABLES_H
#define DP_WORKER_CLIENT_STATE_TABLES_H

#include <stdbool.h>

#include "worker/client/state/layout.h"
#include "worker/client/state/rows.h"
#include "worker/client/state/slot_set.h"
#include "worker/client/state/theta.h"
#include "worker/dp.h"

enum { KEYS_KNOWN_MAX = 8 }; /* lists of a part that the client goes on naming by their hashes */

struct row_group {
    uint64_t tag; /* of the question to the user */
    struct slot_set slots;
    struct row_list *list;  /* one reference of ours; NULL: there is no such group */
    struct row_group *next; /* of `more` */
    /* `more` only: */
    float *theta;     /* dense tensors, then the rows */
    uint8_t *got;     /* [parts] */
    uint32_t lacking; /* parts that have not come */
};

/* Hashes of lists that a part's shard has been sent, in a ring. */
struct keys_known {
    uint64_t hashes[KEYS_KNOWN_MAX];
    uint32_t next;
};

/* A zeroed one is of a job without tables. */
struct tables {
    struct row_layout layout;
    struct keys_known *known; /* [parts] */
    dp_err (*rows)(void *arg, const dp_ask *ask, dp_rows *rows, dp_error *err);
    void *rows_arg;
    uint64_t tag;                 /* of the last question */
    struct row_group now, wanted; /* of theta.now and theta.next */
    struct row_group *more;       /* newest first; only that one may be incomplete */
    const struct row_group *task; /* that dp_next returned last */
};

/* Takes up the job's tables and where they are. Groups are forgotten. DP_NOMEM. */
DP_MUST_CHECK dp_err tables_init(struct tables *tables, const dp_job *job, const struct job_layout *layout,
                                 dp_error *err);
void tables_fini(struct tables *tables);
bool tables_any(const struct tables *tables);

/* Asks the user for the rows that the slots touch of the theta that is wanted, and makes room for them there. DP_USAGE,
 * DP_RANGE, DP_NOMEM, or what the user says. */
DP_MUST_CHECK dp_err tables_want(struct tables *tables, struct theta *theta, const struct slot_set *slots,
                                 dp_error *err);
/* Asks for rows of slots that came late to the step at hand. As tables_want. */
DP_MUST_CHECK dp_err tables_want_more(struct tables *tables, const struct theta *theta, const struct slot_set *slots,
                                      dp_error *err);
/* theta has turned: what was wanted is now. */
void tables_turn(struct tables *tables);
/* The rows that are wanted are wanted no more. */
void tables_unwant(struct tables *tables);
void tables_forget(struct tables *tables);

/* The group that has rows of a slot of the step at hand, whether they are there or not. NULL if there is none. */
const struct row_group *tables_group(const struct tables *tables, uint32_t slot);
/* Whether slots that came late wait for their rows. */
bool tables_lacking(const struct tables *tables);
/* Whether some of these rows are to come from parts [first, first + count). */
bool tables_lacks(const struct tables *tables, uint32_t first, uint32_t count);
/* theta as the slots of a whole group see it. */
const float *tables_theta(const struct row_group *group, const struct theta *theta);

/* A shard's answer about a part. */
struct rows_answer {
    uint32_t part; /* index in the layout */
    uint64_t step;
    uint64_t keys;
    uint32_t count;
    bool last;
    const void *values;
    size_t bytes;
};
/* Takes an answer; one that nobody waits for changes nothing. DP_PROTO where its size is wrong. */
DP_MUST_CHECK dp_err tables_take(struct tables *tables, struct theta *theta, const struct rows_answer *answer,
                                 bool *ret_new, dp_error *err);

/* Whether the part's shard has been sent the list that is named so; sending it is remembered, forgetting it too. */
bool keys_known(const struct tables *tables, uint32_t part, uint64_t hash);
void keys_sent(struct tables *tables, uint32_t part, uint64_t hash);
void keys_forget(struct tables *tables, uint32_t part, uint64_t hash);
void keys_forget_all(struct tables *tables);

#endif
