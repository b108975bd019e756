/* The shards are told of a deal before its workers are, so that they know what each may push (server/deal/grants.h).
 *
 * Invariant: head->deals->granted is the last deal that all shards were sent; NULL where one of them may lack it.
 * Thread: head. */
#include "server/assign/grants.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/assign/balance.h"
#include "server/assign/deal.h"
#include "server/talk/shared.h"

/* The holders of all slots, from now on and at the open step. */
static struct deal *deal_now(const struct head *head)
{
    const struct dealer *dealer = &head->dealer;
    const struct speculation *s = &head->balance->speculation;
    struct deal *deal = deal_new(dealer->slots, 2 * dealer->slots);
    if (!deal)
        return NULL;
    deal->from = dealer->from;
    deal->at = dealer->at;
    memcpy(deal->owner, dealer->next_owner, dealer->slots * sizeof *deal->owner);
    for (uint32_t k = 0; k < dealer->slots; k++) {
        const uint32_t others[] = {dealer->owner[k], s->slot[k].helper};
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            if (others[i] != DEALER_NOBODY && others[i] != dealer->next_owner[k])
                deal->extra[deal->extra_count++] = (struct deal_extra){k, others[i]};
    }
    return deal;
}

/* A member under a number that had slots before has the token of another session: the shards are told again. */
static bool same(const struct deal *a, const struct deal *b)
{
    return a && b && a->from == b->from && a->at == b->at && a->slots == b->slots && a->extra_count == b->extra_count &&
           memcmp(a->owner, b->owner, a->slots * sizeof *a->owner) == 0 &&
           memcmp(a->extra, b->extra, a->extra_count * sizeof *a->extra) == 0;
}

static struct deal *deal_copy(const struct deal *deal)
{
    struct deal *copy = deal_new(deal->slots, deal->extra_count);
    if (!copy)
        return NULL;
    copy->from = deal->from;
    copy->at = deal->at;
    copy->extra_count = deal->extra_count;
    copy->probe = deal->probe;
    memcpy(copy->owner, deal->owner, deal->slots * sizeof *copy->owner);
    memcpy(copy->extra, deal->extra, deal->extra_count * sizeof *copy->extra);
    return copy;
}

/* Tells all shards; takes the deal. */
static dp_err tell_shards(struct head *head, struct deal *now)
{
    head_grant_forget(head);
    for (uint32_t s = 0; s < head->seats.count; s++) {
        struct deal *deal = deal_copy(now);
        if (deal && seats_send(&head->seats, s, &(struct command){.kind = COMMAND_GRANT, .grant = deal}))
            continue;
        free(deal);
        free(now);
        return DP_BUSY;
    }
    head->deals->granted = now;
    return DP_OK;
}

dp_err head_grant(struct head *head)
{
    struct deal *now = deal_now(head);
    if (now && same(now, head->deals->granted)) {
        free(now);
        return DP_OK;
    }
    if (now)
        return tell_shards(head, now);
    head_grant_forget(head);
    return DP_NOMEM;
}

dp_err head_grant_probe(struct head *head, uint32_t number, uint64_t step, uint32_t slot)
{
    struct deal *now = deal_now(head);
    if (!now)
        return DP_NOMEM;
    now->probe = (struct grants_probe){.step = step, .slot = slot, .session = number};
    return tell_shards(head, now);
}

void head_grant_forget(struct head *head)
{
    free(head->deals->granted);
    head->deals->granted = NULL;
}
