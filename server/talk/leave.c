/* Members that leave: a member is fenced before its slots go to others. Giving a slot to two workers is never wrong,
 * only work done twice: so whoever seems lost is replaced at once. Thread: head. */
#include "server/talk/leave.h"

#include <assert.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/talk/journal.h"
#include "server/talk/news.h"
#include "server/talk/shards.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"
#include "server/zmtp/sessions.h"

void head_fence(struct head *head, struct member *member, const char *reason)
{
    bool had_joined = member->state == MEMBER_JOINED;
    if (head_may_inform(head))
        log_info("worker-gone worker=\"%s\" reason=\"%s\"", member->name, reason);
    if (had_joined)
        head_journal(head, "left", json_pack("{s:s, s:s}", "worker", member->name, "reason", reason));
    uint64_t token = member->token;
    assert(member->state != MEMBER_NONE);
    gate_sessions_end(token, mono_ms());
    members_remove(&head->members, member);
    if (had_joined)
        head_close_session(head, token);
    assert(members_find(&head->members, token) == NULL);
    head_news(head, &(struct news){.kind = NEWS_LEFT, .token = token, .had_joined = had_joined});
}

/* One that has no slots yet is missed by nobody. */
void head_lose(struct head *head, struct member *member, const char *reason, const char *text)
{
    if (member->state == MEMBER_JOINED && !member->guest && head_may_warn(head))
        log_warn("worker-lost worker=\"%s\" reason=\"%s\" action=\"%s\"", member->name, text,
                 head->job.core.local ? "its slot is void, nobody else has its data" : "its slots go to others");
    head_fence(head, member, reason);
}

void head_lose_unconnected(struct head *head, struct member *member)
{
    head_lose(head, member, "its connection is gone", "its connection is gone");
}
