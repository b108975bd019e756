/* Workers say hello to the head: who is answered, whose session it takes up, and who makes room for it.
 *
 * Invariants:
 *   1. A hello ends the session of its worker's number only if it comes by the same connection, knows that session's
 * token (or that of the one before it that joined), or if nothing can be lost: a session that never was heard of, or a
 * connection that is gone. Hellos are no secret, tokens are.
 *   2. At most MEMBERS_GREETED_MAX members have not joined. Beyond that a newcomer takes the place of one that says
 * nothing; workers that have joined before come first.
 * Thread: head. */
#include "server/head/hello.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "server/head/reopen.h"
#include "server/job/numerics.h"
#include "server/talk/crowd.h"
#include "server/talk/guard.h"
#include "server/talk/leave.h"
#include "server/talk/reach.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"
#include "server/zmtp/gate.h"
#include "server/zmtp/sessions.h"

static void welcome(struct head *head, const struct routing_id *route, const Dp__Header *request,
                    const struct member *member)
{
    Dp__Welcome body = DP__WELCOME__INIT;
    body.protocol_major = FRAME_MAJOR;
    body.protocol_minor = FRAME_MINOR;
    body.version = (char *)DP_VERSION_TEXT;
    body.lease_ms = (uint32_t)head->opts->lease_s * 1000;
    body.heartbeat_ms = (uint32_t)head_heartbeat_ms(head);
    const uint64_t known =
        FRAME_FEATURE_TABLES | FRAME_FEATURE_ASK | (head->opts->shm == SHM_OFF ? 0 : FRAME_FEATURE_SHM);
    body.features = known & member->features;
    body.frame_bytes_max = FRAME_ROWS_BYTES_MAX;
    body.job = head_vacant(head) ? head->job.asked : head->job.wire;
    char host[SHM_HOST_MAX];
    if (body.features & FRAME_FEATURE_SHM) {
        shm_host(host);
        body.host = host;
    }
    Dp__Header header = DP__HEADER__INIT;
    header.session = member->token;
    header.body_case = DP__HEADER__BODY_WELCOME;
    header.welcome = &body;
    head_reply(head, route, request, &header);
}

/* Why nobody is taken in now; DP_OK if one is. */
dp_err head_admission(const struct head *head, dp_error *err)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return dp_fail(err, DP_SHUTDOWN, "the server is shutting down");
    if (head->state == HEAD_EXPORTING || head->state == HEAD_DONE)
        return dp_fail(err, DP_JOB_DONE, "the job is done");
    return DP_OK;
}

/* A worker that comes when all is over, as local ones of a short job do, is no trouble. A refusal of a local worker
 * ends the job with the same message. */
void head_log_refusal(struct head *head, const char *name, const dp_error *err)
{
    if (head->supervise || err->code == DP_JOB_DONE || err->code == DP_SHUTDOWN || err->code == DP_BUSY)
        log_info("worker-refused worker=\"%s\" reason=\"%s\"", name, err->text);
    else if (head_may_warn(head))
        log_warn("worker-refused worker=\"%s\" reason=\"%s\"", name, err->text);
}

static dp_err check_version(const Dp__Hello *hello, dp_error *err)
{
    if (hello->protocol_major != FRAME_MAJOR)
        return dp_fail(err, DP_VERSION,
                       "this dp-server %s speaks protocol %d, the worker %u: install the same version of dp on both",
                       DP_VERSION_TEXT, FRAME_MAJOR, hello->protocol_major);
    return DP_OK;
}

/* Sessions are for workers: who says that it is dp-ctl would take a number, and maybe the last place. */
static dp_err check_role(const Dp__Hello *hello, dp_error *err)
{
    if (hello->role != DP__HELLO__ROLE__WORKER)
        return dp_fail(
            err, DP_REFUSED,
            "dp-ctl has no session here: it asks with status_request, set, export and checkpoint, without a hello");
    return DP_OK;
}

/* ---- sessions of the same worker ---- */

/* The member whose session the hello must not take, unless its connection is gone; NULL if there is none. */
static struct member *rival_of(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    struct member *member = members_by_worker(&head->members, request->hello->worker);
    if (!member || routing_id_same(&member->route, route) || member_knows(member, request->session))
        return NULL;
    bool unheard = member->state == MEMBER_GREETED && member->row == ROW_SILENT;
    return unheard ? NULL : member;
}

/* Whether the hello is put off until it is known if those that it may replace are still connected. */
static bool put_off(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    const struct member *rival = rival_of(head, route, request);
    const struct member *namesake = rival ? rival : members_by_name(&head->members, request->hello->name);
    if (!rival && namesake && namesake->worker == request->hello->worker)
        namesake = NULL;
    return (namesake || head_looks_for_members(head)) && head_post_ask(head, namesake);
}

/* The session that this very hello began. It was answered, and is again: hellos alone bring no new ones. */
static struct member *greeted_before(struct head *head, const struct routing_id *route, const Dp__Hello *hello)
{
    struct member *member = members_by_worker(&head->members, hello->worker);
    bool same = member && member->state == MEMBER_GREETED && routing_id_same(&member->route, route) &&
                strcmp(member->name, hello->name) == 0;
    return same ? member : NULL;
}

/* Ends the sessions that a hello takes the place of. DP_BUSY: that of its number is another connection's. */
static dp_err fence_before(struct head *head, const struct routing_id *route, const Dp__Header *request, dp_error *err)
{
    const Dp__Hello *hello = request->hello;
    struct member *rival = rival_of(head, route, request);
    if (rival && head->talk.post == NULL && !head_reachable(head, rival)) {
        head_fence(head, rival, "its connection is gone");
        rival = NULL;
    }
    if (rival)
        return dp_fail(err, DP_BUSY,
                       "worker '%.100s' has a session by another connection, which must end first: once that is "
                       "silent for %" PRIu64 " s (--lease) its place is free",
                       hello->name, head->opts->lease_s);
    struct member *before = members_by_worker(&head->members, hello->worker);
    if (before)
        head_fence(head, before, "it said hello again");
    /* A worker that was started again before its end was noticed. One whose connection stands is another worker of that
     * name. */
    struct member *namesake = members_by_name(&head->members, hello->name);
    if (namesake && head->talk.post == NULL && !head_reachable(head, namesake))
        head_fence(head, namesake, "it was started again");
    /* A connection is one worker: many hellos on it are one after the other, not many members. */
    struct member *other = members_by_route(&head->members, route);
    if (other)
        head_fence(head, other, "another worker said hello on its connection");
    return DP_OK;
}

/* ---- room ---- */

bool head_numerics_bound(const struct head *head)
{
    return head->members.joined > 0 || head_begun(head);
}

dp_err head_room(const struct head *head, dp_error *err)
{
    uint64_t most = head->opts->max_workers ? head->opts->max_workers : UINT64_MAX;
    if (head->members.joined < most)
        return DP_OK;
    return dp_fail(err, DP_BUSY, "--max-workers %" PRIu64 ": the server has as many workers as it takes", most);
}

/* A number for one more: some greeted member's, where there is none left. */
static dp_err make_room(struct head *head, bool former, dp_error *err)
{
    struct members *members = &head->members;
    bool numbers = members->count < SESSIONS_MAX;
    if (numbers && members_may_greet(members))
        return DP_OK;
    struct member *member = members_to_leave(members, former);
    if (member) {
        head_fence(head, member, "it has not joined, and another worker takes its place");
        return DP_OK;
    }
    if (!numbers)
        return dp_fail(err, DP_BUSY, "%d workers have joined, which is as many as a server takes", SESSIONS_MAX);
    return dp_fail(err, DP_BUSY, "%d workers that were here before are just coming back, and have not joined yet",
                   MEMBERS_GREETED_MAX);
}

static dp_err add_member(struct head *head, const struct routing_id *route, const Dp__Header *request,
                         struct member **ret_member, dp_error *err)
{
    const Dp__Hello *hello = request->hello;
    dp_err e = head_room(head, err);
    if (!e)
        e = make_room(head, members_is_former(&head->members, request->session), err);
    struct member *member = e ? NULL : members_add(&head->members, hello->worker, hello->name, request->session);
    if (!member)
        return e ? e : dp_fail(err, DP_BUSY, "the server has as many workers as it takes");
    members_route(&head->members, member, route);
    member->known = head_guards_hello(head);
    *ret_member = member;
    return DP_OK;
}

/* ---- hello ---- */

static void refuse(struct head *head, const struct routing_id *route, const Dp__Header *request, const char *brief,
                   const dp_error *err)
{
    head_log_refusal(head, request->hello->name, err);
    head_refuse(head, route, request, err->code, brief && !head_guards_hello(head) ? brief : err->text);
}

static void take_in(struct head *head, const struct routing_id *route, const Dp__Header *request, struct member *member)
{
    const Dp__Hello *hello = request->hello;
    member->features = hello->features;
    (void)str_copy(member->numerics, sizeof member->numerics, hello->numerics);
    member->pid = hello->pid;
    member->threads = hello->threads;
    member->last_seen_ms = mono_ms();
    gate_sessions_set(member->token, GATE_GREETED);
    gate_attach(head->talk.came_by, member->token);
    welcome(head, route, request, member);
}

void head_on_hello(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    const Dp__Hello *hello = request->hello;
    dp_error err;
    const char *brief = NULL;
    dp_err e = check_version(hello, &err);
    if (!e)
        e = check_role(hello, &err);
    if (!e)
        e = head_admission(head, &err);
    if (!e && !head_may_join(head, route, request))
        return;
    if (!e && put_off(head, route, request))
        return;
    if (!e && head_numerics_bound(head) && (e = job_admit(&head->job, hello->numerics, &err)))
        brief = JOB_OTHER_NUMERICS;
    struct member *member = e ? NULL : greeted_before(head, route, hello);
    if (member) {
        take_in(head, route, request, member);
        return;
    }
    if (!e)
        e = fence_before(head, route, request, &err);
    if (!e)
        e = head_crowd_admit(head, &err);
    if (!e)
        e = add_member(head, route, request, &member, &err);
    if (e) {
        refuse(head, route, request, brief, &err);
        return;
    }
    if (head_may_inform(head))
        log_info("worker-hello worker=\"%s\" number=%u attempt=%u", member->name,
                 members_number(&head->members, member), member->attempt);
    take_in(head, route, request, member);
}
