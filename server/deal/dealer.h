/* The slot dealer: which member holds which slot. Pure arithmetic on member numbers and speeds; no clock, no network.
 *
 * Members get contiguous runs of slots in proportion to their speeds, so that the slowest run ends as early as it can;
 * larger runs come first, so that runs of equal powers of two are whole blocks of the tree. `next_owner` holds from
 * step `from` on; `owner` holds at step `at`, the open one, and takes in the slots of members that were lost then; in
 * between holds `base_owner`.
 *
 * If commits are on arrival, steps up to `ahead` after the open one may have been begun. At these steps a living member
 * keeps its slots: slots move only from the first step on that nobody can have begun.
 *
 * Invariants: with at least one member, every slot has an owner that is a member, at every step from `at` on; from >=
 * at while a deal is to come. Thread: head. */
#ifndef DP_SERVER_DEAL_DEALER_H
#define DP_SERVER_DEAL_DEALER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

#define DEALER_NOBODY UINT32_MAX

/* A member that slots are dealt to. */
struct dealer_member {
    uint32_t number;
    double speed;   /* > 0, in any unit: only ratios count */
    uint32_t slots; /* out: how many it is dealt */
};

struct dealer {
    uint32_t slots;
    uint64_t from;        /* first step of next_owner, at most at + 2 + ahead */
    uint64_t at;          /* the open step that owner is about */
    uint32_t *owner;      /* [slots] member numbers at step `at` */
    uint32_t *base_owner; /* [slots] at steps before `from` that are not open yet */
    uint32_t *next_owner; /* [slots] at steps >= from */
};

/* Step `first` is the open one. DP_NOMEM. */
DP_MUST_CHECK dp_err dealer_init(struct dealer *dealer, uint32_t slots, uint64_t first);
void dealer_fini(struct dealer *dealer);

/* Deals anew after members changed, while step `open` is open and workers may have begun the `ahead` steps after it:
 * `members` (ascending numbers, `count` of them; put in another order) share the slots from step open + 1 on, or if
 * none was lost from step open + 1 + ahead. At step `open`, slots of owners that are no longer members go to those that
 * are; if there was no owner at all, the new deal holds from `open`. With count == 0 every slot is nobody's. Returns
 * whether a slot of step `open` has another owner now. */
bool dealer_deal(struct dealer *dealer, uint64_t open, uint32_t ahead, struct dealer_member *members, uint32_t count);
/* Deals anew for step open + 2 + ahead if a step would then take less than DEALER_GAIN of what it takes now, by the
 * speeds that are known now. The members are those of the last deal, else nothing happens. Returns whether it did: no
 * worker can have begun that step, so none computes what is no longer its own. */
bool dealer_balance(struct dealer *dealer, uint64_t open, uint32_t ahead, struct dealer_member *members,
                    uint32_t count);
/* The member that holds a slot at a step, the open one or a later one. */
uint32_t dealer_owner(const struct dealer *dealer, uint64_t step, uint32_t slot);
/* Whether a member has a slot, now or from the next deal on. */
bool dealer_holds(const struct dealer *dealer, uint32_t member);
/* `owner` is about step `open` from now on; called before owner is read for it. */
void dealer_open(struct dealer *dealer, uint64_t open);
/* Gives a slot of the open step to `member` instead: its owner so far may still deliver, the first result wins. */
void dealer_reassign(struct dealer *dealer, uint64_t open, uint32_t slot, uint32_t member);

/* A deal that is not better than this is not worth the moves: speeds are measured, and waver. */
#define DEALER_GAIN 0.9

#endif
