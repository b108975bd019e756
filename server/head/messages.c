/* What clients say to the head, and its answers. A bad message is answered with an error and changes nothing. Thread:
 * head. */
#include "server/talk/shared.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "server/zmtp/gate.h"
#include "server/zmtp/sessions.h"

enum { MOVED_LEAST_BYTES = 16 << 10 /* questions and headers alone are fewer */ };

static dp_err copy_frame(const void *data, size_t bytes, zmq_msg_t *msg)
{
    if (zmq_msg_init_size(msg, bytes))
        return DP_NOMEM;
    memcpy(zmq_msg_data(msg), data, bytes);
    return DP_OK;
}

/* A job with many labels or tensors is large: it is not even written for a peer that does not read. */
static dp_err header_frame(struct head *head, const struct routing_id *route, const Dp__Header *header, zmq_msg_t *msg)
{
    size_t bytes = frame_size(header);
    if (bytes < ANSWERS_LARGE_BYTES) {
        if (zmq_msg_init_size(msg, bytes))
            return DP_NOMEM;
        frame_write(header, zmq_msg_data(msg));
        return DP_OK;
    }
    if (!answers_may(&head->answers, post_sender(route->id, route->bytes), bytes))
        return DP_BUSY;
    char *block = mem_array(bytes, 1);
    if (block)
        frame_write(header, block);
    return block ? head_answer_frame(head, route, block, bytes, msg) : DP_NOMEM;
}

static dp_err send_about(struct head *head, enum letter_about about, const struct routing_id *route, Dp__Header *header,
                         zmq_msg_t *payload)
{
    zmq_msg_t frames[3];
    header->incarnation = head->job.incarnation;
    dp_err e = copy_frame(route->id, route->bytes, &frames[0]);
    if (e)
        goto no_id;
    e = header_frame(head, route, header, &frames[1]);
    if (e)
        goto no_header;
    if (payload) {
        zmq_msg_init(&frames[2]);
        zmq_msg_move(&frames[2], payload);
    }
    if (head->post)
        return head_post_send(head, about, header->session, frames, payload ? 3 : 2);
    return zuv_send(&head->zuv, frames, payload ? 3 : 2);
no_header:
    zmq_msg_close(&frames[0]);
no_id:
    if (payload)
        zmq_msg_close(payload);
    return e;
}

dp_err head_send(struct head *head, const struct routing_id *route, Dp__Header *header, zmq_msg_t *payload)
{
    return send_about(head, ABOUT_MESSAGE, route, header, payload);
}

dp_err head_send_about(struct head *head, enum letter_about about, const struct member *member, Dp__Header *header)
{
    header->session = member->token;
    return send_about(head, about, &member->route, header, NULL);
}

/* A reply that is lost is asked for again. */
void head_reply(struct head *head, const struct routing_id *route, const Dp__Header *request, Dp__Header *header)
{
    header->request = request->request;
    if (header->session == 0)
        header->session = request->session;
    dp_err e = head_send(head, route, header, NULL);
    if (e)
        log_debug("reply-lost reason=%s", dp_err_name(e));
}

void head_refuse(struct head *head, const struct routing_id *route, const Dp__Header *request, dp_err code,
                 const char *text)
{
    char clean[FRAME_TEXT_MAX + 1];
    text_clean(clean, sizeof clean, text);
    Dp__Error error = DP__ERROR__INIT;
    error.code = (uint32_t)code;
    error.text = clean;
    error.hang_up = code == DP_BUSY && request->body_case == DP__HEADER__BODY_HELLO && head->crowd.is_short;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_ERROR;
    header.error = &error;
    head_reply(head, route, request, &header);
}

/* Says how many lines were left out before one that passes. */
static bool may_log(struct log_limit *limit, enum log_level level, const char *event)
{
    uint64_t left_out;
    if (!log_limit_pass(limit, mono_ms(), &left_out))
        return false;
    if (left_out)
        log_write(level, "%s count=%" PRIu64, event, left_out);
    return true;
}

bool head_may_warn(struct head *head)
{
    return may_log(&head->peer_limit, LOG_WARN, "warnings-left-out");
}

bool head_may_inform(struct head *head)
{
    return may_log(&head->info_limit, LOG_INFO, "lines-left-out");
}

void head_notice(struct head *head, dp_err code, const char *text)
{
    char clean[FRAME_TEXT_MAX + 1];
    text_clean(clean, sizeof clean, text);
    Dp__Notice notice = DP__NOTICE__INIT;
    notice.code = (uint32_t)code;
    notice.text = clean;
    for (uint32_t i = 0; i < head->members.used; i++) {
        const struct member *member = &head->members.list[i];
        if (member->state == MEMBER_NONE)
            continue;
        Dp__Header header = DP__HEADER__INIT;
        header.session = member->token;
        header.body_case = DP__HEADER__BODY_NOTICE;
        header.notice = &notice;
        if (head_send(head, &member->route, &header, NULL))
            log_debug("notice-lost worker=\"%s\"", member->name);
    }
}

/* ---- join ---- */

static void joined(struct head *head, const struct member *member, const Dp__Header *request)
{
    Dp__Joined body = DP__JOINED__INIT;
    body.job = head->job.wire;
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

static void on_join(struct head *head, struct member *member, const Dp__Header *request)
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
    if (!again && !head_open_session(head, member)) {
        head_refuse(head, &member->route, request, DP_BUSY, "the shards have too much to do, try again");
        return;
    }
    gate_sessions_set(member->token, GATE_JOINED);
    joined(head, member, request);
    if (!again) {
        members_join(&head->members, member, mono_ms());
        head_receive(head, member);
        if (head_may_inform(head))
            log_info("worker-joined worker=\"%s\" workers=%u", member->name, head->members.joined);
    }
    member->told = false; /* its connection may be another one */
    head_deal_soon(head);
}

/* ---- the rest ---- */

static void on_heartbeat(struct head *head, struct member *member, const struct routing_id *route,
                         const Dp__Header *request)
{
    const Dp__Heartbeat *beat = request->heartbeat;
    uint64_t now = mono_ms();
    members_hear(&head->members, member, beat->samples, now);
    if (beat->step != member->step || beat->slots_computed > member->slots_computed)
        head_hung_heard(member);
    head_measure(member, beat);
    member->step = beat->step;
    member->shm = beat->shm;
    if (beat->moved_bytes >= member->moved_bytes + MOVED_LEAST_BYTES) {
        member->moved_bytes = beat->moved_bytes;
        member->moved_ms = now;
    }
    member->last_seen_ms = now;
    Dp__HeartbeatAck ack = DP__HEARTBEAT_ACK__INIT;
    ack.global_low = head->global_low;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_HEARTBEAT_ACK;
    header.heartbeat_ack = &ack;
    head_reply(head, route, request, &header);
}

static void on_bye(struct head *head, struct member *member, const Dp__Header *request)
{
    const Dp__Bye *bye = request->bye;
    dp_err code = dp_err_from_wire(bye->code);
    bool local = head->supervise != NULL;              /* its stderr is listened to: said once is enough */
    bool told = head->state == HEAD_STOPPING;          /* why the job has failed */
    if (code == DP_UNREACHABLE && head_may_warn(head)) /* the head was reached, or it would not say it */
        log_warn("shard-unreachable worker=\"%s\" reason=\"%s\" action=\"it goes on trying; its slots go to others\"",
                 member->name, bye->text);
    else if (code != DP_OK && code != DP_JOB_DONE && code != DP_SHUTDOWN && !told && head_may_warn(head))
        log_write(local ? LOG_INFO : LOG_WARN, "worker-gave-up worker=\"%s\" reason=\"%s\"", member->name,
                  bye->text[0] ? bye->text : dp_err_text(code));
    if (code == DP_OK)
        head_ranks_finish(head, member);
    head_fence(head, member, "it said goodbye");
}

/* Messages that belong to a session. */
static void on_member(struct head *head, const struct routing_id *route, const Dp__Header *header)
{
    struct member *member = members_find(&head->members, header->session);
    if (!member) {
        head_refuse(head, route, header, DP_HELLO_REQUIRED, "unknown session, say hello again");
        return;
    }
    member->last_seen_ms = MAX(member->last_seen_ms, mono_ms());
    switch (header->body_case) {
    case DP__HEADER__BODY_JOIN:
        members_route(&head->members, member, route);
        on_join(head, member, header);
        break;
    case DP__HEADER__BODY_HEARTBEAT:
        on_heartbeat(head, member, route, header);
        break;
    default:
        on_bye(head, member, header);
        break;
    }
}

static void malformed(struct head *head, const dp_error *err)
{
    uint64_t left_out;
    head->malformed++;
    if (log_limit_pass(&head->malformed_limit, mono_ms(), &left_out))
        log_warn("malformed-message at=head reason=\"%s\" more=%" PRIu64, err->text, left_out);
}

void head_on_message(void *arg, zmq_msg_t *frames, size_t count)
{
    struct head *head = arg;
    const Dp__Header *header;
    dp_error err = {.text = "a message needs a header frame, and has no more than a few frames"};
    struct routing_id route;
    if (count < 2 || zmq_msg_size(&frames[0]) > sizeof route.id ||
        frame_parse(&head->arena, zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), count - 2, &header, &err)) {
        malformed(head, &err);
        return;
    }
    route.bytes = (uint8_t)zmq_msg_size(&frames[0]);
    memcpy(route.id, zmq_msg_data(&frames[0]), route.bytes);
    head->came_by = zmq_msg_get(&frames[1], ZMQ_SRCFD);
    switch (header->body_case) {
    case DP__HEADER__BODY_HELLO:
        head_on_hello(head, &route, header);
        break;
    case DP__HEADER__BODY_STATUS_REQUEST:
        head_on_status(head, &route, header);
        break;
    case DP__HEADER__BODY_SET:
        if (head_may_admin(head, &route, header))
            head_on_set(head, &route, header);
        break;
    case DP__HEADER__BODY_EXPORT:
        if (head_fetch_known(head, &route, header->export) || head_may_admin(head, &route, header))
            head_on_export(head, &route, header);
        break;
    case DP__HEADER__BODY_JOIN:
    case DP__HEADER__BODY_HEARTBEAT:
    case DP__HEADER__BODY_BYE:
        on_member(head, &route, header);
        break;
    default:
        head_refuse(head, &route, header, DP_PROTO,
                    "the head takes hello, join, heartbeat, bye, status_request, set and export");
        break;
    }
}
