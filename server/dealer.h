/* The slot dealer: which member holds which slot. Pure arithmetic on member numbers; no clock, no network.
 *
 * `next_owner` holds from step `from` on; `owner` holds at the step that was open when the deal was last changed, and
 * takes in the slots of members that were lost then. Invariant: with at least one member, every slot has an owner that
 * is a member, in both. Thread: head. */
#ifndef DP_DEALER_H
#define DP_DEALER_H

#include <stdbool.h>
#include <stdint.h>

#include "dp_err.h"

#define DEALER_NOBODY UINT32_MAX

struct dealer {
    uint32_t slots;
    uint64_t from;        /* first step of next_owner */
    uint64_t at;          /* the open step that owner is about */
    uint32_t *owner;      /* [slots] member numbers at step `at` */
    uint32_t *next_owner; /* [slots] at steps >= from */
};

DP_MUST_CHECK dp_err dealer_init(struct dealer *dealer, uint32_t slots);
void dealer_fini(struct dealer *dealer);

/* Deals anew after members changed, while step `open` is open: `members` (ascending, `count` of them) share the slots
 * in contiguous runs from step open + 1 on. At step `open`, slots of owners that are no longer members go to those that
 * are; if there was no owner at all, the new deal holds from `open`. With count == 0 every slot is nobody's. */
void dealer_deal(struct dealer *dealer, uint64_t open, const uint32_t *members, uint32_t count);
/* `owner` is about step `open` from now on; called before owner is read for it. */
void dealer_open(struct dealer *dealer, uint64_t open);
/* Gives a slot of the open step to `member` instead: its owner so far may still deliver, the first result wins. */
void dealer_reassign(struct dealer *dealer, uint64_t open, uint32_t slot, uint32_t member);

#endif
