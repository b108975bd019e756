/* The slot dealer; see dealer.h. Thread: head. */
#include "dealer.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

dp_err dealer_init(struct dealer *dealer, uint32_t slots)
{
    struct dealer made = {.slots = slots};
    made.owner = mem_array(slots, sizeof *made.owner);
    made.next_owner = mem_array(slots, sizeof *made.next_owner);
    if (!made.owner || !made.next_owner) {
        dealer_fini(&made);
        return DP_NOMEM;
    }
    for (uint32_t k = 0; k < slots; k++)
        made.owner[k] = made.next_owner[k] = DEALER_NOBODY;
    *dealer = made;
    return DP_OK;
}

void dealer_fini(struct dealer *dealer)
{
    free(dealer->owner);
    free(dealer->next_owner);
    *dealer = (struct dealer){0};
}

static bool is_member(const uint32_t *members, uint32_t count, uint32_t member)
{
    for (uint32_t i = 0; i < count; i++)
        if (members[i] == member)
            return true;
    return false;
}

/* Once its first step is open or past, the next deal is the one in force. */
void dealer_open(struct dealer *dealer, uint64_t open)
{
    if (open >= dealer->from && open != dealer->at)
        memcpy(dealer->owner, dealer->next_owner, dealer->slots * sizeof *dealer->owner);
    dealer->at = open;
}

void dealer_deal(struct dealer *dealer, uint64_t open, const uint32_t *members, uint32_t count)
{
    dealer_open(dealer, open);
    bool kept = false;
    uint32_t turn = 0;
    for (uint32_t k = 0; k < dealer->slots; k++) {
        if (is_member(members, count, dealer->owner[k]))
            kept = true;
        else
            dealer->owner[k] = count ? members[turn++ % count] : DEALER_NOBODY;
    }
    for (uint32_t k = 0; k < dealer->slots; k++)
        dealer->next_owner[k] = count ? members[(uint64_t)k * count / dealer->slots] : DEALER_NOBODY;
    dealer->from = open + 1;
    if (!kept) {
        dealer->from = open;
        memcpy(dealer->owner, dealer->next_owner, dealer->slots * sizeof *dealer->owner);
    }
}

void dealer_reassign(struct dealer *dealer, uint64_t open, uint32_t slot, uint32_t member)
{
    dealer_open(dealer, open);
    dealer->owner[slot] = member;
}
