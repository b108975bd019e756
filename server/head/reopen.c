/* A job that is settled but has not begun belongs to the workers that settled it. Once they are gone it is the next
 * one's: what that one brings is checked as always, and if it is something else, the job is settled anew by it. So a
 * first worker with a wrong file does no lasting harm, and one that comes back goes on where it was.
 *
 * Shards forget the job in the order of their commands: sessions were closed before, the next START comes after.
 * What they have said of it carries its incarnation, and is dropped. Thread: head. */
#include <string.h>

#include "common/base/log.h"
#include "server/talk/shared.h"

bool head_unbegun(const struct head *head)
{
    return head->job.settled && head->state == HEAD_RUNNING && head->global_low == 0 && !head_fetching(head);
}

bool head_vacant(const struct head *head)
{
    return head_unbegun(head) && head->members.joined == 0;
}

/* Of so many that have joined nobody believes that all are gone, and each that comes would ask all of them. */
enum { LOOKED_FOR_MAX = 4 };

bool head_looks_for_members(const struct head *head)
{
    return head_unbegun(head) && head->members.joined > 0 && head->members.joined <= LOOKED_FOR_MAX;
}

void head_look_for_members(struct head *head)
{
    for (uint32_t i = 0; head_looks_for_members(head) && i < head->members.used; i++) {
        struct member *member = &head->members.list[i];
        if (member->state == MEMBER_JOINED && !head_reachable(head, member))
            head_fence(head, member, "its connection is gone");
    }
}

/* The setting that is being agreed on, if there is one, is of steps that will not be. */
static void forget_control(struct head *head)
{
    Dp__Header request = DP__HEADER__INIT;
    request.request = head->control.request;
    if (head->control.busy)
        head_refuse(head, &head->control.route, &request, DP_BUSY, "the job is settled anew, try again");
    head->control = (struct control){0};
}

static void forget_job(struct head *head)
{
    forget_control(head);
    head_fetch_fini(head); /* theta of it, kept for who asks no more */
    dealer_fini(&head->dealer);
    head_grant_forget(head);
    head_balance_stop(head);
    head_ranks_fini(head);
    head_drop_fini(head);
    head_owed_fini(head);
    head_end_exchange(head);
    head->report = (struct report){0};
    memset(head->lows, 0, head->port_count * sizeof *head->lows);
    head->first_port = head->arrival_port = 0;
    head->stall = (struct stall){0};
    head->alone = false;
    head->infinite_from = 0;
    head->blamed[0] = '\0';
    head->doubts.count = 0;
}

void head_reopen(struct head *head, const char *reason)
{
    dp_error err;
    log_warn(
        "job-settled-anew incarnation=%016llx data=\"%s\" rows=%llu reason=\"its workers left before the first step "
        "was complete\" other=\"%s\"",
        (unsigned long long)head->job.incarnation, head->job.train.name, (unsigned long long)head->job.train.rows,
        reason);
    head->state = HEAD_WAITING;
    for (uint32_t i = 0; i < head->members.used; i++)
        if (head->members.list[i].state != MEMBER_NONE)
            head_fence(head, &head->members.list[i], "the job is settled anew");
    for (uint32_t p = 0; p < head->port_count; p++)
        head_command(head, p, &(struct command){.kind = COMMAND_RESET});
    forget_job(head);
    if (job_reopen(&head->job, &err))
        head_fail(head, &err);
}
