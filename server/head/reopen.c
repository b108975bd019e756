/* A job that is settled but has not begun belongs to the workers that settled it. Once they are gone it is the next
 * one's: what that one brings is checked as always, and if it is something else, the job is settled anew by it. So a
 * first worker with a wrong file does no lasting harm, and one that comes back goes on where it was.
 *
 * Shards forget the job in the order of their commands: sessions were closed before, the next START comes after.
 * Their events of it carry its incarnation, and are dropped. Thread: head. */
#include "server/head/reopen.h"

#include "common/base/log.h"
#include "server/head/settle.h"
#include "server/result/fetch.h"
#include "server/talk/leave.h"
#include "server/talk/news.h"
#include "server/talk/reach.h"
#include "server/talk/shards.h"
#include "server/talk/shared.h"

bool head_unbegun(const struct head *head)
{
    return head->job.settled && head->state == HEAD_RUNNING && !head_begun(head) && !head_fetching(head);
}

bool head_vacant(const struct head *head)
{
    return head_unbegun(head) && head->members.joined == 0;
}

/* With more members it is not likely that all are gone, and each that comes would ask all of them. */
enum { LOOKED_FOR_MAX = 4 };

bool head_looks_for_members(const struct head *head)
{
    return head_unbegun(head) && head->members.joined > 0 && head->members.joined <= LOOKED_FOR_MAX;
}

static void look_for_members(struct head *head)
{
    for (uint32_t i = 0; head_looks_for_members(head) && i < head->members.used; i++) {
        struct member *member = &head->members.list[i];
        if (member->state == MEMBER_JOINED && !head_reachable(head, member))
            head_fence(head, member, "its connection is gone");
    }
}

bool head_post_ask(struct head *head, const struct member *namesake)
{
    struct letter *letter = head->talk.reading;
    if (!head->talk.post)
        look_for_members(head);
    if (!head->talk.post || letter->about == ABOUT_HELLO)
        return false;
    if (namesake)
        head_probe(head, namesake, ABOUT_NAMESAKE);
    look_for_members(head);
    letter->about = ABOUT_HELLO;
    head->talk.reading = NULL;
    if (post_send(head->talk.post, letter)) /* dropped: the worker asks again */
        log_debug("hello-lost reason=\"too much is under way\"");
    return true;
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
    for (uint32_t s = 0; s < head->seats.count; s++)
        head_command(head, s, &(struct command){.kind = COMMAND_RESET});
    head_settle_stop(head);
    if (job_reopen(&head->job, &err))
        head_fail(head, &err);
}
