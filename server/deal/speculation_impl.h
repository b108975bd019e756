/* For the files of speculation only. Thread: head. */
#ifndef DP_SERVER_DEAL_SPECULATION_IMPL_H
#define DP_SERVER_DEAL_SPECULATION_IMPL_H

#include "server/deal/speculation.h"

/* NULL for DEALER_NOBODY. */
struct speculation_member *speculation_member_of(struct speculation *s, uint32_t number);
/* A member has one slot more to deliver; it has come from somebody, or is somebody else's. DEALER_NOBODY: nothing. */
void speculation_owe(struct speculation *s, uint32_t number, uint64_t now_us);
void speculation_owe_no_more(struct speculation *s, uint32_t number);
/* A copy that is out was not needed, is late, or its helper is gone. */
void speculation_forget_copy(struct speculation *s, struct speculation_slot *slot);
/* A member's time for one slot; 0: not known. */
double speculation_slot_us(const struct speculation *s, uint32_t number);

#endif
