/* The slot dealer; see dealer.h. Thread: head. */
#include "server/deal/dealer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

dp_err dealer_init(struct dealer *dealer, uint32_t slots, uint64_t first)
{
    struct dealer made = {.slots = slots, .from = first, .at = first};
    made.owner = mem_array(slots, sizeof *made.owner);
    made.base_owner = mem_array(slots, sizeof *made.base_owner);
    made.next_owner = mem_array(slots, sizeof *made.next_owner);
    if (!made.owner || !made.base_owner || !made.next_owner) {
        dealer_fini(&made);
        return DP_NOMEM;
    }
    for (uint32_t k = 0; k < slots; k++)
        made.owner[k] = made.base_owner[k] = made.next_owner[k] = DEALER_NOBODY;
    *dealer = made;
    return DP_OK;
}

void dealer_fini(struct dealer *dealer)
{
    free(dealer->owner);
    free(dealer->base_owner);
    free(dealer->next_owner);
    *dealer = (struct dealer){0};
}

static struct dealer_member *find(struct dealer_member *members, uint32_t count, uint32_t number)
{
    for (uint32_t i = 0; i < count; i++)
        if (members[i].number == number)
            return &members[i];
    return NULL;
}

static void owners_copy(const struct dealer *dealer, uint32_t *to, const uint32_t *from)
{
    memcpy(to, from, dealer->slots * sizeof *to);
}

/* Once its first step is open or past, the next deal is the one in force. */
void dealer_open(struct dealer *dealer, uint64_t open)
{
    if (open == dealer->at)
        return;
    if (open >= dealer->from)
        owners_copy(dealer, dealer->base_owner, dealer->next_owner);
    owners_copy(dealer, dealer->owner, dealer->base_owner);
    dealer->at = open;
}

/* Slots of each member: its exact share rounded down, then one by one to the member that needs least time for one more.
 * This makes the longest time, slots / speed, as short as possible. */
static void share(uint32_t slots, struct dealer_member *members, uint32_t count)
{
    double total = 0;
    uint32_t left = slots;
    for (uint32_t i = 0; i < count; i++)
        total += members[i].speed;
    for (uint32_t i = 0; i < count; i++) {
        members[i].slots = MIN((uint32_t)(slots * (members[i].speed / total)), left);
        left -= members[i].slots;
    }
    for (; count > 0 && left > 0; left--) {
        struct dealer_member *best = &members[0];
        for (uint32_t i = 1; i < count; i++)
            if ((members[i].slots + 1) / members[i].speed < (best->slots + 1) / best->speed)
                best = &members[i];
        best->slots++;
    }
}

static int by_size(const void *a, const void *b)
{
    const struct dealer_member *left = a, *right = b;
    if (left->slots != right->slots)
        return left->slots > right->slots ? -1 : 1;
    return left->number < right->number ? -1 : 1;
}

/* Runs of slots by size, to next_owner. */
static void lay_out(struct dealer *dealer, struct dealer_member *members, uint32_t count)
{
    uint32_t k = 0;
    qsort(members, count, sizeof *members, by_size);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < members[i].slots; n++)
            dealer->next_owner[k++] = members[i].number;
    assert(count == 0 || k == dealer->slots);
    while (k < dealer->slots)
        dealer->next_owner[k++] = DEALER_NOBODY;
}

/* At the open step, slots of the lost go to the members in turn. Returns how many. */
static uint32_t hand_over(struct dealer *dealer, struct dealer_member *members, uint32_t count)
{
    uint32_t lost = 0;
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (!find(members, count, dealer->owner[k])) {
            dealer->owner[k] = count ? members[lost % count].number : DEALER_NOBODY;
            lost++;
        }
    return lost;
}

/* Whether all owners at the steps after the open one are members. */
static bool none_lost(const struct dealer *dealer, struct dealer_member *members, uint32_t count)
{
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (!find(members, count, dealer_owner(dealer, dealer->at + 1, k)) ||
            !find(members, count, dealer->next_owner[k]))
            return false;
    return true;
}

/* A deal that is still to come is replaced at its own step, since workers know of it. */
static uint64_t first_step(const struct dealer *dealer, uint32_t ahead, struct dealer_member *members, uint32_t count)
{
    uint64_t open = dealer->at;
    if (!none_lost(dealer, members, count))
        return open + 1;
    return dealer->from > open ? MIN(dealer->from, open + 1 + ahead) : open + 1 + ahead;
}

bool dealer_deal(struct dealer *dealer, uint64_t open, uint32_t ahead, struct dealer_member *members, uint32_t count)
{
    dealer_open(dealer, open);
    uint32_t lost = hand_over(dealer, members, count);
    uint64_t from = first_step(dealer, ahead, members, count);
    share(dealer->slots, members, count);
    lay_out(dealer, members, count);
    dealer->from = from;
    if (lost == dealer->slots) {
        dealer->from = open;
        owners_copy(dealer, dealer->base_owner, dealer->next_owner);
        owners_copy(dealer, dealer->owner, dealer->next_owner);
    }
    return lost > 0;
}

uint32_t dealer_owner(const struct dealer *dealer, uint64_t step, uint32_t slot)
{
    if (step == dealer->at)
        return dealer->owner[slot];
    return step < dealer->from ? dealer->base_owner[slot] : dealer->next_owner[slot];
}

static double longest(const struct dealer_member *members, uint32_t count)
{
    double time = 0;
    for (uint32_t i = 0; i < count; i++)
        time = MAX(time, members[i].slots / members[i].speed);
    return time;
}

/* Counts what each holds in next_owner; false if somebody else holds some of it. */
static bool count_held(const struct dealer *dealer, struct dealer_member *members, uint32_t count)
{
    struct dealer_member *holder = NULL;
    for (uint32_t i = 0; i < count; i++)
        members[i].slots = 0;
    for (uint32_t k = 0; k < dealer->slots; k++) {
        if (!holder || holder->number != dealer->next_owner[k])
            holder = find(members, count, dealer->next_owner[k]);
        if (!holder)
            return false;
        holder->slots++;
    }
    return true;
}

bool dealer_balance(struct dealer *dealer, uint64_t open, uint32_t ahead, struct dealer_member *members, uint32_t count)
{
    dealer_open(dealer, open);
    if (dealer->from > open || !count_held(dealer, members, count))
        return false;
    double now = longest(members, count);
    share(dealer->slots, members, count);
    if (longest(members, count) >= DEALER_GAIN * now)
        return false;
    lay_out(dealer, members, count);
    dealer->from = open + 2 + ahead;
    return true;
}

bool dealer_holds(const struct dealer *dealer, uint32_t member)
{
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (dealer->owner[k] == member || dealer->next_owner[k] == member)
            return true;
    return false;
}

void dealer_reassign(struct dealer *dealer, uint64_t open, uint32_t slot, uint32_t member)
{
    dealer_open(dealer, open);
    dealer->owner[slot] = member;
}
