/* The decision which late slots are computed by idle members as well; the rules are in speculation.h. Thread: head. */
#ifndef DP_SERVER_DEAL_SPECULATION_DECIDE_H
#define DP_SERVER_DEAL_SPECULATION_DECIDE_H

#include "server/deal/speculation.h"

struct speculation_gift {
    uint32_t slot, member;
};

/* The copies to give now go to gifts[slots]; `numbers` are the members, and the dealer has the holders of slots of the
 * steps ahead. Returns how many; *ret_again_us is when to ask again if nothing arrives before, 0: not before something
 * does. */
uint32_t speculation_decide(struct speculation *s, const struct dealer *dealer, const uint32_t *numbers, uint32_t count,
                            uint64_t now_us, struct speculation_gift *gifts, uint64_t *ret_again_us);

#endif
