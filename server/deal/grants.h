/* Slots that a session may push, as the head has dealt them.
 *
 * A permission only grows within a step: a session may push the slots that it held when a step began for that step for
 * ever, and those that it was told of later as well. So a grant is the slots that the session holds from now on, the
 * extra ones of the open step, one that it is probed with at a step to come, and those that it has lost lately: its
 * worker may not have heard of that, and what it computed meanwhile counts. A lost slot may be pushed for the open
 * steps and the GRANTS_GRACE after them. A session that ends leaves its slots to the next one of the same worker in the
 * same way, since that sends again what had no answer.
 *
 * Numbers in, numbers out. Thread: shard, but for a deal, which the head fills. */
#ifndef DP_SERVER_DEAL_GRANTS_H
#define DP_SERVER_DEAL_GRANTS_H

#include <stdint.h>

#include "common/base/dp_err.h"

enum { GRANTS_GRACE = 128, GRANTS_LATE = 2 };

struct grants_late {
    uint64_t begun; /* step at which the first of them was lost */
    uint64_t until; /* they may be pushed for the steps before this one */
};

/* One slot at one step, that somebody else holds. */
struct grants_probe {
    uint64_t step;
    uint32_t slot;
    uint32_t session; /* number; GRANTS_NO_PROBE: there is none */
};
#define GRANTS_NO_PROBE UINT32_MAX

/* A zeroed one allows nothing. */
struct grants {
    uint32_t slots; /* K; 0: no memory yet */
    uint32_t words;
    uint64_t extra_step;
    struct grants_late late[GRANTS_LATE];
    struct grants_probe probe; /* means nothing before grants_init */
    uint64_t *sets;            /* bitmaps of `words` words each: held, dealt, extra, late[0], late[1]; heap */
};

/* The holders of all slots: the head's word to a shard. One block of memory. */
struct deal_extra {
    uint32_t slot, session;
};

struct deal {
    uint64_t from;  /* first step of `owner` */
    uint64_t at;    /* the open step, which extra is of */
    uint32_t slots; /* K */
    uint32_t extra_count;
    uint32_t *owner;          /* [slots] numbers of sessions; those that are none are nobody's */
    struct deal_extra *extra; /* [extra_count] */
    struct grants_probe probe;
    uint32_t room[];
};

/* A deal of `slots` slots with room for `extras`; free() frees it. NULL when out of memory. */
struct deal *deal_new(uint32_t slots, uint32_t extras);

/* DP_NOMEM. */
DP_MUST_CHECK dp_err grants_init(struct grants *grants, uint32_t slots);
void grants_fini(struct grants *grants);

/* A deal is taken up slot by slot: begin, then dealt for each of the session's slots, then end. The ones it held and no
 * longer does are late from step `step` on, the first that no worker can have begun. */
void grants_begin(struct grants *grants);
void grants_dealt(struct grants *grants, uint32_t slot);
void grants_end(struct grants *grants, uint64_t step);
/* A slot of step `step` besides. Those of the latest step alone are known: earlier ones are complete. */
void grants_extra(struct grants *grants, uint64_t step, uint32_t slot);
/* The slot of a step to come, instead of the one before. */
void grants_probe(struct grants *grants, const struct grants_probe *probe);
/* The session is over. */
void grants_leave(struct grants *grants, uint64_t step);

/* The first slot of [first, end), end <= K, that may not be pushed for the step; `end` if there is none. */
uint32_t grants_lacking(const struct grants *grants, uint64_t step, uint32_t first, uint32_t end);

#endif
