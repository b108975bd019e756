/* A job in virtual time: the dealer, speculation and what a head does with them, and workers of many kinds; no clock,
 * no network. */
#ifndef DP_TESTS_UNIT_SUPPORT_SIM_H
#define DP_TESTS_UNIT_SUPPORT_SIM_H

#include "server/deal/dealer.h"
#include "server/deal/speculation.h"

enum {
    SLOTS_MAX = 64,
    OPEN_MAX = 33,
    MEMBERS = 108,
    WAY_US = 200,      /* a message takes so long */
    BEAT_US = 1000000, /* between heartbeats */
    TICK_US = 250000,  /* of the head */
};

/* An event in the life of a worker, in virtual time. */
struct sim_worker {
    double slot_us;                      /* time of a slot */
    uint64_t hangs_from_us, hangs_to_us; /* a slot begun in between ends at the latter */
    bool eval_only;                      /* hangs at evaluation steps only */
    bool lies;                           /* says that it is fast and does much */
    double every_us;                     /* > 0: half-dead: a slot takes so long */
    bool joined;
    uint64_t told[SLOTS_MAX];           /* step + 1 of which it was last given a copy of the slot */
    uint64_t done[OPEN_MAX][SLOTS_MAX]; /* step + 1 of which it was last done with the slot, by step % OPEN_MAX */
    uint64_t step;                      /* the step that it is at */
    uint32_t at;                        /* slot under way; SLOTS_MAX: none */
    uint64_t ends_us;                   /* when it ends */
    uint64_t computed;                  /* so far */
    uint64_t busy_us;
    /* a copy of a step to come */
    uint64_t probe_step;
    uint32_t probe_slot;
    /* the head's */
    double rate;
    uint64_t said_slots, said_us;
    uint64_t probed_us;
    uint32_t probes;
};

struct sim {
    uint32_t slots, count;
    uint32_t eval_every; /* > 0: each such step is an evaluation */
    uint32_t staleness;
    struct sim_worker workers[MEMBERS];
    struct dealer dealer;
    struct speculation spec;
    double speed[MEMBERS], slot_us[MEMBERS];
    uint64_t step, changes, now_us, again_us, beat_us, tick_us;
    uint64_t low_seen, low_seen_us;
    double step_us;
    struct dealer_member dealt[MEMBERS];
    uint64_t given;
};

/* A job without members whose first step is open. */
void sim_init(struct sim *sim, uint32_t slots);
void sim_fini(struct sim *sim);
/* One more worker, of this kind. */
void sim_join(struct sim *sim, struct sim_worker like);
/* Lets time go on. */
void sim_run(struct sim *sim, uint64_t until_us);

#endif
