/* The step at hand: slots that are owed, handed in and sent. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_STEP_H
#define DP_WORKER_CLIENT_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/question.h"
#include "worker/client/state/duty.h"
#include "worker/client/state/values.h"

struct dp_client;

/* Invariants: `held` and `task_slots` are there from step_init to step_fini; a value of `held` has one reference of
 * ours to its slab; while `closed`, nothing is handed in. */
struct step {
    const struct question *asks; /* of the step at hand */
    bool closed;                 /* the step is complete without us: nothing is owed any more */
    uint64_t undealt_request;    /* a push that is refused as not dealt says nothing new up to this request */
    struct node_value *held;     /* per slot, of nodes whose sibling is to come */
    uint32_t *task_slots;        /* [SLOT_SET_MAX] */
    uint64_t busy_since_us;      /* the task was taken, or its last slot handed in */
};

/* Makes room for the steps of the job. DP_NOMEM. */
DP_MUST_CHECK dp_err step_init(struct dp_client *client, dp_error *err);
void step_fini(struct dp_client *client);
/* Begins the step of client->plane.theta.now. */
void step_begin(struct dp_client *client);
/* Takes up what the assignments say of this step. */
void step_owe(struct dp_client *client);
/* Takes up an assignment that has just come, and was taken by client->duty: on arrival it may lead back to an earlier
 * step, even while this worker waits for a later one. */
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
/* Forgets theta and all that was computed: another incarnation of the job. Assignments that came meanwhile
 * stay. */
void step_forget(struct dp_client *client);
/* Slots to compute now go to client->step.task_slots; returns how many. With tables, client->plane.tables.task is their
 * group. */
uint32_t step_task(struct dp_client *client);
/* Nothing is to be computed: asks for what is lacking, rows of slots that came late or theta of the next step.
 * DP_NOMEM, or what the user says of rows. */
DP_MUST_CHECK dp_err step_ask(struct dp_client *client, dp_error *err);
/* Floats of theta and of a gradient of the task at hand. */
uint64_t step_task_elems(const struct dp_client *client);
/* Hands in a slot's value, which is taken; sends what has become ready. DP_DATA for a gradient that is not finite,
 * DP_RANGE, DP_USAGE, DP_NOMEM. */
DP_MUST_CHECK dp_err step_hand_in(struct dp_client *client, uint32_t slot, struct node_value value, dp_error *err);

#endif
