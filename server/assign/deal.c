/* Deals: who computes which slots from when on, as members come and go. Giving a slot to two workers is never wrong,
 * only work done twice: so whoever seems lost is replaced at once. Thread: head. */
#include "server/assign/deal.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "server/assign/assign.h"
#include "server/assign/balance.h"
#include "server/assign/grants.h"
#include "server/assign/ranks.h"
#include "server/talk/shared.h"

/* At most one deal in this time: if many workers come at once, each deal would move slots and tell of it. */
enum { DEAL_GAP_MS = 20 };

/* Members whose slots are not those of before are to be told. If the deal holds from an earlier step than the last one
 * did, all are: they know the steps between by the deal before that. */
static void mark_changed(struct head *head, const uint32_t *owner, const uint32_t *next_owner, uint64_t from)
{
    const struct dealer *dealer = &head->dealer;
    bool earlier = dealer->from < from;
    for (uint32_t k = 0; k < dealer->slots; k++) {
        bool moved = earlier || dealer->next_owner[k] != next_owner[k];
        const uint32_t news[] = {dealer->owner[k] != owner[k] ? dealer->owner[k] : DEALER_NOBODY,
                                 moved ? next_owner[k] : DEALER_NOBODY, moved ? dealer->next_owner[k] : DEALER_NOBODY};
        for (size_t i = 0; i < ARRAY_LEN(news); i++)
            if (news[i] != DEALER_NOBODY)
                head->members.list[news[i]].told = false;
    }
}

static void tell_changed(struct head *head)
{
    uint32_t count = members_list(&head->members, head->numbers), kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!head->members.list[head->numbers[i]].told)
            head->numbers[kept++] = head->numbers[i];
    if (kept > 0)
        head_assign_to(head, head->numbers, kept);
}

/* Invariant 2 of struct head. */
static bool all_owned(const struct head *head)
{
    const struct dealer *dealer = &head->dealer;
    for (uint32_t k = 0; k < dealer->slots; k++) {
        const uint32_t owners[] = {dealer->owner[k], dealer->next_owner[k]};
        for (size_t i = 0; i < ARRAY_LEN(owners); i++)
            if (owners[i] == DEALER_NOBODY || head->members.list[owners[i]].state != MEMBER_JOINED)
                return false;
    }
    return true;
}

static void deal_slots(struct head *head)
{
    struct dealer *dealer = &head->dealer;
    size_t bytes = dealer->slots * sizeof *dealer->owner;
    AUTOFREE uint32_t *before = mem_array(2 * (size_t)dealer->slots, sizeof *before);
    dealer_open(dealer, head->global_low);
    uint64_t from = dealer->from;
    if (before) {
        memcpy(before, dealer->owner, bytes);
        memcpy(before + dealer->slots, dealer->next_owner, bytes);
    }
    uint32_t count = head_balance_members(head);
    if (dealer_deal(dealer, head->global_low, head_ahead(head), head->balance->dealt, count))
        head->moved_ms = mono_ms();
    assert(count == 0 || all_owned(head));
    head_balance_dealt(head);
    if (!before) {
        head_assign_all(head);
        return;
    }
    mark_changed(head, before, before + dealer->slots, from);
    tell_changed(head);
}

void head_deal(struct head *head)
{
    uv_timer_stop(&head->deals->timer);
    if (!head->job.settled || head->state != HEAD_RUNNING)
        return;
    head->deals->dealt_ms = mono_ms();
    if (head->job.core.local)
        head_ranks_deal(head);
    else
        deal_slots(head);
}

static void on_deal_timer(uv_timer_t *timer)
{
    head_deal(timer->data);
}

/* Ranks are given at once, since they say who else may join. */
void head_deal_soon(struct head *head)
{
    uint64_t passed_ms = mono_ms() - head->deals->dealt_ms;
    if (head->job.core.local || passed_ms >= DEAL_GAP_MS)
        head_deal(head);
    else if (!uv_is_active((uv_handle_t *)&head->deals->timer))
        uv_timer_start(&head->deals->timer, on_deal_timer, DEAL_GAP_MS - passed_ms, 0);
}

/* Whether somebody waits for what the member was to compute. */
static bool is_missed(const struct head *head, uint32_t number)
{
    const struct dealer *dealer = &head->dealer;
    const struct speculation *s = &head->balance->speculation;
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (dealer->owner[k] == number || dealer->base_owner[k] == number || dealer->next_owner[k] == number ||
            (s->slot && s->slot[k].helper == number))
            return true;
    return false;
}

void head_deal_joined(struct head *head, const struct news *news)
{
    (void)news;
    head_deal_soon(head);
}

void head_deal_left(struct head *head, const struct news *news)
{
    if (!news->had_joined)
        return;
    if (is_missed(head, session_number(news->token)))
        head_deal(head);
    else
        head_deal_soon(head);
}

void head_deal_open(struct head *head)
{
    uv_timer_init(&head->loop, &head->deals->timer);
    head->deals->timer.data = head;
}

void head_deal_close(struct head *head, const struct news *news)
{
    (void)news;
    uv_close((uv_handle_t *)&head->deals->timer, NULL);
}

dp_err head_deal_start(struct head *head)
{
    return dealer_init(&head->dealer, head->job.core.plan.slots, head->job.core.first_step);
}

void head_deal_stop(struct head *head)
{
    dealer_fini(&head->dealer);
    head_grant_forget(head);
}
