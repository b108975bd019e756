/* Members are told their slots, and the shards before them. Thread: head. */
#include "server/assign/assign.h"

#include "common/base/log.h"
#include "server/assign/balance.h"
#include "server/assign/grants.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

/* A worker that joins anew is told its slots anew, so nothing is lost with a connection. One that computes for long
 * does not read meanwhile, and its queue of messages has an end. Unless it were told later, it would not know its slots
 * until the next deal, and the job would wait for them. */
void head_assigned(struct head *head, struct member *member, dp_err e)
{
    bool was_untold = member->untold;
    member->untold = e && e != DP_UNREACHABLE;
    if (member->untold && !was_untold && head_may_warn(head))
        log_warn("assign-lost worker=\"%s\" reason=%s action=\"sent again until it is taken\"", member->name,
                 dp_err_name(e));
}

/* The slots that a member holds from the next deal on. */
static Dp__Assign dealt_to(const struct dealer *dealer, uint32_t number, uint32_t *slots)
{
    Dp__Assign body = DP__ASSIGN__INIT;
    body.from_step = dealer->from;
    body.slots = slots;
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (dealer->next_owner[k] == number)
            slots[body.n_slots++] = k;
    return body;
}

dp_err head_assign_probe(struct head *head, uint32_t number, uint64_t step, uint32_t slot)
{
    AUTOFREE uint32_t *slots = mem_array(head->dealer.slots, sizeof *slots);
    Dp__Header header = DP__HEADER__INIT;
    dp_err e = slots ? head_grant_probe(head, number, step, slot) : DP_NOMEM;
    if (e)
        return e;
    Dp__Assign body = dealt_to(&head->dealer, number, slots);
    body.extra_step = step;
    body.extra_slots = &slot;
    body.n_extra_slots = 1;
    header.body_case = DP__HEADER__BODY_ASSIGN;
    header.assign = &body;
    e = head_send_about(head, ABOUT_ASSIGN, &head->members.list[number], &header);
    head_assigned(head, &head->members.list[number], e);
    return e;
}

/* Sends a member its slots. */
static void send_slots(struct head *head, uint32_t number, uint32_t *slots, uint32_t *extra)
{
    struct member *member = &head->members.list[number];
    const struct dealer *dealer = &head->dealer;
    member->told = true;
    Dp__Assign body = dealt_to(dealer, number, slots);
    body.extra_slots = extra;
    body.extra_step = dealer->at;
    for (uint32_t k = 0; k < dealer->slots; k++)
        if (dealer->owner[k] == number || head->balance->speculation.slot[k].helper == number)
            extra[body.n_extra_slots++] = k;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_ASSIGN;
    header.assign = &body;
    head_assigned(head, member, head_send_about(head, ABOUT_ASSIGN, member, &header));
}

void head_assign_to(struct head *head, const uint32_t *numbers, uint32_t count)
{
    AUTOFREE uint32_t *slots = mem_array(head->dealer.slots, sizeof *slots);
    AUTOFREE uint32_t *extra = mem_array(head->dealer.slots, sizeof *extra);
    dp_err e = slots && extra ? head_grant(head) : DP_NOMEM;
    if (e) {
        for (uint32_t i = 0; i < count; i++)
            head_assigned(head, &head->members.list[numbers[i]], e);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        send_slots(head, numbers[i], slots, extra);
}

void head_assign(struct head *head, uint32_t number)
{
    head_assign_to(head, &number, 1);
}

void head_assign_all(struct head *head)
{
    head_assign_to(head, head->numbers, members_list(&head->members, head->numbers));
}
