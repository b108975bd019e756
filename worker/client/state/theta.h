/* theta of the step at hand and, piece by piece, theta of the next one: slices of the dense tensors, and behind them
 * the rows of tables that a step needs, whose pieces are the parts of the tables. Two buffers: theta_t stays readable
 * until theta_{t+1} is whole. If the shards share memory, there are no rows, and all slices of a step are in one
 * plane, theta is read there; what comes otherwise is copied to the buffers. Thread: the client's. */
#ifndef DP_WORKER_CLIENT_STATE_THETA_H
#define DP_WORKER_CLIENT_STATE_THETA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/tensor/tensor.h"
#include "worker/client/state/slot_set.h"
#include "worker/client/state/views.h"

/* The answer for a piece of the step wanted. */
enum theta_got { THETA_MISSING, THETA_NEW, THETA_UNCHANGED, THETA_LAST };

struct theta {
    uint64_t elems; /* of the dense tensors */
    uint32_t slice_count;
    uint32_t piece_count; /* slices, then parts of tables: as their ids are on the wire */
    struct range *slices; /* of theta, by slice id; end to end */
    const float *now;     /* theta of `step`, if `valid`: one of `own` or a view */
    float *own[2];        /* the one that is not `now` takes theta of `want` */
    uint64_t room[2];     /* floats that they have room for */
    struct views views;   /* of the shards' memory, if they share it */
    uint32_t *planes;     /* per slice 1 + the plane that has it for `want`, 0: it is in a buffer */
    uint64_t *now_have;   /* per slice 1 + its version in `now`, 0 for none */
    uint64_t *next_have;
    uint8_t *got;                    /* enum theta_got, per piece */
    uint32_t counts[THETA_LAST + 1]; /* pieces of each enum theta_got */
    bool lent;                       /* `now` is in a plane, or came from one */
    bool valid;
    uint64_t step;
    uint64_t want;
    uint32_t staleness, want_staleness;      /* of both steps: whether their slots commit on arrival (open_steps.h), */
    struct slot_set accepted, want_accepted; /* and the slots that all slices have by now */
};

/* An answer to a pull; the values are borrowed for the call and need not be aligned. */
struct theta_answer {
    uint32_t slice;
    uint64_t step;
    uint64_t version;
    bool unchanged;
    bool last;
    uint32_t staleness;
    const uint8_t *accepted; /* a bit for each slot, as the wire has it */
    size_t accepted_bytes;   /* at most SLOT_SET_MAX / 8 */
    uint32_t plane;          /* 1 + the plane that has the values; 0: they are in `values` */
    const void *values;
    size_t bytes;
};

/* Takes over the slices (heap). On failure they are freed as well. DP_NOMEM. */
DP_MUST_CHECK dp_err theta_init(struct theta *theta, struct range *slices, uint32_t slice_count, uint32_t part_count,
                                dp_error *err);
void theta_fini(struct theta *theta);
/* Starts assembling theta of step `want` anew; `now` stays what it is. */
void theta_want(struct theta *theta, uint64_t want);
/* From now on the shards' memory is mapped; the views are taken. */
void theta_share(struct theta *theta, struct views *views);
/* Gives the mappings up. If theta was read there, or copied from there, it is forgotten, since the shards may have
 * overwritten it: true then, and `want` is its step. */
bool theta_unshare(struct theta *theta);
/* Takes an answer. One for another step, or a second one, changes nothing. DP_PROTO where it does not fit the slice or
 * says `unchanged` of what we do not have. */
DP_MUST_CHECK dp_err theta_take(struct theta *theta, const struct theta_answer *answer, bool *ret_new, dp_error *err);
/* Makes room for that many floats of rows in the theta that is wanted, of which nothing may be there yet. DP_NOMEM. */
DP_MUST_CHECK dp_err theta_rows_room(struct theta *theta, uint64_t floats, dp_error *err);
/* Takes a part's answer for the step wanted: its values, or the end of the job. They go to theta's rows, `at` floats
 * from the first. False where it was there. */
bool theta_take_part(struct theta *theta, uint32_t piece, bool last, uint64_t at, const void *values, size_t bytes);
/* All pieces of the step wanted are there. */
bool theta_whole(const struct theta *theta);
/* The job has no such step: all pieces said so. */
bool theta_ended(const struct theta *theta);
/* If theta is whole: makes it `now`, and wants the next step. */
void theta_turn(struct theta *theta);
/* Forgets all versions, because they are of another incarnation of the job. Wants step 0, wherever the job is: a
 * shard that is ahead refuses it and names the step to go on with. */
void theta_forget(struct theta *theta);

#endif
