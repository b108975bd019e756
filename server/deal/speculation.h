/* Speculation: which slots of the open step are late, and who of the idle computes them as well. Pure: the caller says
 * what happens and what time it is; no clock, no network.
 *
 * A member computes its slots one after the other, each in a time that is in proportion to 1 / speed. If a step commits
 * once, it delivers them at the end; the factor is learnt from members that have delivered all they held, for each
 * question. On arrival it delivers them one by one, and goes on to the `ahead` steps after the open one:
 * then the factor is learnt from the gaps between a member's slots, and a member is idle only once it has delivered all
 * it holds of all these steps.
 *
 * A slot is expected then; one that is overdue is expected after as long again, or sooner where copies of overdue slots
 * have come too late (`patience`). It is given to an idle member that would have it clearly sooner. A copy that is late
 * in its turn is given to another one; the first result wins. A member that was given something is idle
 * again when something has come from itself: others may have delivered what it owed while it hangs (delivery.h).
 *
 * Invariants:
 *   1. Only slots that have not arrived are given, each to one helper, which is not its holder.
 *   2. given = won + lost + those whose slot has not arrived.
 * Thread: head. */
#ifndef DP_SERVER_DEAL_SPECULATION_H
#define DP_SERVER_DEAL_SPECULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tensor/question.h"
#include "server/deal/dealer.h"
#include "server/deal/delivery.h"

/* Less is not worth a copy: workers that share processors are late by a few time slices of the scheduler now and then,
 * and a copy costs its helper the memory of another gradient, and those beside it their time. */
enum { SPECULATION_GAIN_US = 20000 };

struct speculation_slot {
    uint32_t holder;
    uint32_t helper;      /* the member that was given a copy, or DEALER_NOBODY */
    bool late;            /* it was overdue then */
    uint64_t since_us;    /* it is the holder's */
    uint64_t copy_due_us; /* when the copy is due */
    uint64_t arrived;     /* bit i: for step `step` + i */
};

struct speculation_member {
    uint32_t held;            /* slots that it holds at the open step */
    uint32_t open;            /* slots that have not arrived, of those and of its copies */
    uint32_t brought;         /* slots that it held and that came from itself */
    uint64_t brought_us;      /* when the last of these came */
    uint32_t copies;          /* that it was given at the open step */
    bool beaten;              /* a slot that it computes came from another first */
    bool waits;               /* it may have waited since last_us: that was of the last step that may be open */
    uint64_t last_us;         /* when a slot last came from it, 0: none has */
    struct delivery delivery; /* from step to step */
    /* scratch of a decision */
    uint32_t extra;   /* copies given in it */
    uint32_t mine;    /* slots that it holds at the open step and has not delivered */
    bool idle, ahead; /* ahead: it owes slots of later steps */
};

struct speculation {
    uint32_t slots;                  /* K */
    uint32_t used;                   /* members that have been seen have numbers below this */
    uint64_t step;                   /* the open one */
    uint32_t ahead;                  /* steps after it that may be open as well; 0 where it commits once */
    enum question_number asks;       /* by it: each question has a factor */
    double patience;                 /* 1..4: how much longer than once a slot is waited for */
    uint64_t opened_us;              /* when it was opened */
    uint32_t missing;                /* slots that have not arrived */
    const double *speed;             /* [members] borrowed; by number, > 0, around 1 */
    double unit_us[QUESTIONS];       /* a slot's time at speed 1; 0: not known */
    struct speculation_slot *slot;   /* [slots] */
    struct speculation_member *list; /* [members] by number; those not in use are zero */
    uint64_t *expected_us;           /* [slots] scratch; 0: not to be given */
    uint64_t given, won, lost;       /* copies; won: they came first */
    uint64_t changes;                /* members that became hung, or are no longer */
};

/* Members have numbers below `members`; DP_NOMEM. */
DP_MUST_CHECK dp_err speculation_init(struct speculation *s, uint32_t slots, uint32_t members, const double *speed);
void speculation_fini(struct speculation *s);

/* Step `step` is the open one from now on, and `ahead` <= 32 more, with these holders; slots that empty(arg, slot)
 * says have no samples have arrived. */
void speculation_open(struct speculation *s, uint64_t step, uint32_t ahead, enum question_number asks,
                      const uint32_t *owner, bool (*empty)(const void *arg, uint32_t slot), const void *arg,
                      uint64_t now_us);
/* Members changed: these are the holders now. A copy whose helper does not live(arg, member) is forgotten. */
void speculation_owners(struct speculation *s, const uint32_t *owner, bool (*lives)(const void *arg, uint32_t member),
                        const void *arg, uint64_t now_us);
/* Slots [first, end) of `step` came from a member, first or after others had them. Those of up to 63 steps to come are
 * kept in mind for these. */
void speculation_arrived(struct speculation *s, uint64_t step, uint32_t member, uint32_t first, uint32_t end,
                         uint64_t now_us);
/* The open step stands still, since shards lack slots that the member holds: it counts as hung. */
void speculation_stalled(struct speculation *s, uint32_t member, uint64_t now_us);
/* slot_us by number: in, what members say that a training slot takes them, 0: not known; out, not less than what came
 * from them shows. */
void speculation_believe(const struct speculation *s, const uint32_t *numbers, uint32_t count, double *slot_us);
/* Whether a member delivers nothing: no slots are dealt to it while others do. */
bool speculation_hung(const struct speculation *s, uint32_t member);
/* Whether a slot of the open step has arrived. */
bool speculation_in(const struct speculation *s, uint32_t slot);

#endif
