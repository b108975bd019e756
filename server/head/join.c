/* Workers that have read their data join: the first one settles the job, the others must fit it. Thread: head. */
#include "server/head/join.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/assign/grants.h"
#include "server/assign/ranks.h"
#include "server/head/hello.h"
#include "server/head/reopen.h"
#include "server/head/settle.h"
#include "server/job/labels.h"
#include "server/job/numerics.h"
#include "server/talk/leave.h"
#include "server/talk/news.h"
#include "server/talk/shards.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"
#include "server/zmtp/sessions.h"

static void joined(struct head *head, const struct member *member, const Dp__Header *request)
{
    Dp__Joined body = DP__JOINED__INIT;
    body.job = head->job.wire;
    body.train_step = plan_trained(&head->job.core.plan, head->global_low);
    Dp__Header header = DP__HEADER__INIT;
    header.session = member->token;
    header.body_case = DP__HEADER__BODY_JOINED;
    header.joined = &body;
    head_reply(head, &member->route, request, &header);
}

/* `brief` is for who has proved nothing; NULL: there is nothing to hide. */
static void refuse_join(struct head *head, struct member *member, const Dp__Header *request, const char *brief,
                        const dp_error *err)
{
    head_log_refusal(head, member->name, err);
    head_refuse(head, &member->route, request, err->code, brief && !member->known ? brief : err->text);
    head_fence(head, member, "refused");
}

/* A server with local workers has data of its own: those settle the job, whoever else comes first. */
static bool may_settle(const struct head *head, const struct member *member)
{
    return !head->supervise || supervise_knows(head->supervise, (pid_t)member->pid);
}

/* Whether the worker computes the bits of those that have joined; the first one's become those of the job. A hello
 * alone binds nobody. */
static dp_err bind_numerics(struct head *head, const struct member *member, dp_error *err)
{
    if (head_numerics_bound(head))
        return job_admit(&head->job, member->numerics, err);
    job_take_numerics(&head->job, member->numerics);
    return DP_OK;
}

/* Whether the worker fits the job, or settles it. DP_HELLO_REQUIRED: another worker's data had settled it, which is
 * gone before the job began. DP_BUSY: it is not the worker's to settle. */
static dp_err settle_or_check(struct head *head, const struct member *member, const Dp__Join *join,
                              const char **ret_brief, dp_error *err)
{
    dp_err e = head_admission(head, err);
    if (e)
        return e;
    if ((!head->job.settled || head_vacant(head)) && !may_settle(head, member))
        return dp_fail(err, DP_BUSY, "the job is settled by the data of the server's own workers (--local-workers)");
    *ret_brief = JOB_OTHER_NUMERICS;
    e = bind_numerics(head, member, err);
    if (e)
        return e;
    *ret_brief = NULL;
    if (!head->job.settled)
        return head_settle(head, join, err);
    e = job_check(&head->job, join, ret_brief, err);
    if (!head_vacant(head) || (!e && job_same_numerics(&head->job)))
        return e;
    head_reopen(head, e ? err->text : "its numbers were those of another kind of CPU or build");
    return dp_fail(err, DP_HELLO_REQUIRED, "the job is settled anew, say hello again");
}

/* Whether one more may join. Nothing of the job has changed where not. */
static dp_err join_admission(struct head *head, dp_error *err)
{
    dp_err e = head_room(head, err);
    return e ? e : head_ranks_admit(head, err);
}

void head_on_join(struct head *head, struct member *member, const Dp__Header *request)
{
    dp_error err;
    const char *brief = NULL;
    const struct routing_id route = member->route;
    bool again = member->state == MEMBER_JOINED;
    bool other = head_looks_for_members(head) && job_check(&head->job, request->join, &brief, &err);
    if (other && (head_post_ask(head, NULL) || member->state == MEMBER_NONE))
        return;
    brief = NULL;
    dp_err e = settle_or_check(head, member, request->join, &brief, &err);
    if (e == DP_HELLO_REQUIRED || e == DP_BUSY) {
        head_refuse(head, &route, request, e, err.text);
        return;
    }
    if (e) {
        refuse_join(head, member, request, brief, &err);
        return;
    }
    if (!again && join_admission(head, &err)) {
        head_refuse(head, &member->route, request, err.code, err.text);
        return;
    }
    if (job_learn_labels(&head->job, request->join, &err)) {
        head_refuse(head, &member->route, request, err.code, err.text);
        return;
    }
    if (!again)
        head_grant_forget(head); /* its number may have been another session's before */
    if (!again && !head_open_session(head, member)) {
        head_refuse(head, &member->route, request, DP_BUSY, "the shards have too much to do, try again");
        return;
    }
    gate_sessions_set(member->token, GATE_JOINED);
    joined(head, member, request);
    if (!again) {
        members_join(&head->members, member, mono_ms());
        if (head_may_inform(head))
            log_info("worker-joined worker=\"%s\" workers=%u", member->name, head->members.joined);
    }
    member->told = false; /* its connection may be another one */
    head_news(head, &(struct news){.kind = NEWS_JOINED, .member = member, .again = again});
}
