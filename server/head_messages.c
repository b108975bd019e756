/* What clients say to the head, and its answers. A bad message is answered with an error and changes nothing. Thread:
 * head. */
#include "head.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "text.h"

enum { HEARTBEAT_MIN_MS = 50, MOVED_LEAST_BYTES = 16 << 10 /* questions and headers alone are fewer */ };

static dp_err copy_frame(const void *data, size_t bytes, zmq_msg_t *msg)
{
    if (zmq_msg_init_size(msg, bytes))
        return DP_NOMEM;
    memcpy(zmq_msg_data(msg), data, bytes);
    return DP_OK;
}

static dp_err send_about(struct head *head, enum letter_about about, const struct routing_id *route, Dp__Header *header,
                         zmq_msg_t *payload)
{
    zmq_msg_t frames[3];
    header->incarnation = head->job.incarnation;
    if (copy_frame(route->id, route->bytes, &frames[0]))
        goto no_id;
    if (zmq_msg_init_size(&frames[1], frame_size(header)))
        goto no_header;
    frame_write(header, zmq_msg_data(&frames[1]));
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
    return DP_NOMEM;
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
static void reply(struct head *head, const struct routing_id *route, const Dp__Header *request, Dp__Header *header)
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
    reply(head, route, request, &header);
}

bool head_may_warn(struct head *head)
{
    uint64_t left_out;
    if (!log_limit_pass(&head->peer_limit, mono_ms(), &left_out))
        return false;
    if (left_out)
        log_warn("warnings-left-out count=%" PRIu64, left_out);
    return true;
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

/* ---- hello ---- */

uint64_t head_heartbeat_ms(const struct head *head)
{
    return MAX(head->opts->lease_s * 100, (uint64_t)HEARTBEAT_MIN_MS);
}

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
    reply(head, route, request, &header);
}

/* Why nobody is taken in now; DP_OK if one is. */
static dp_err admission(const struct head *head, dp_error *err)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return dp_fail(err, DP_SHUTDOWN, "the server is shutting down");
    if (head->state == HEAD_EXPORTING || head->state == HEAD_DONE)
        return dp_fail(err, DP_JOB_DONE, "the job is done");
    return DP_OK;
}

/* Who comes when all is over, as local workers of a short job do, is no trouble; and what local workers are refused for
 * ends the job with that message. */
static void log_refusal(struct head *head, const char *name, const dp_error *err)
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
        return dp_fail(err, DP_REFUSED,
                       "dp-ctl has no session here: it asks with status_request, set and export, without a hello");
    return DP_OK;
}

/* Ends the sessions that a hello takes the place of. */
static void fence_before(struct head *head, const struct routing_id *route, const Dp__Hello *hello)
{
    struct member *before = members_by_worker(&head->members, hello->worker);
    if (before)
        head_fence(head, before, "it said hello again");
    /* A worker that was started again before its end was noticed. One whose connection stands is another worker of that
     * name. */
    struct member *namesake = members_by_name(&head->members, hello->name);
    if (namesake && head->post == NULL && !head_reachable(head, namesake))
        head_fence(head, namesake, "it was started again");
    /* A connection is one worker: many hellos on it are one after the other, not many members. */
    struct member *same_route = members_by_route(&head->members, route);
    if (same_route)
        head_fence(head, same_route, "another worker said hello on its connection");
}

/* NULL where there is no room. */
static struct member *add_member(struct head *head, const Dp__Hello *hello, dp_error *err)
{
    uint64_t most = head->opts->max_workers ? head->opts->max_workers : UINT64_MAX;
    bool room = head->members.count < most, greets = members_may_greet(&head->members);
    struct member *member = room && greets ? members_add(&head->members, hello->worker, hello->name) : NULL;
    if (!member && !room)
        (void)dp_fail(err, DP_BUSY, "--max-workers %" PRIu64 ": the server has as many workers as it takes", most);
    else if (!member)
        (void)dp_fail(err, DP_BUSY, "%s",
                      greets ? "the server has as many workers as it takes"
                             : "too many workers have said hello and not joined yet");
    return member;
}

static void on_hello(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    const Dp__Hello *hello = request->hello;
    dp_error err;
    dp_err e = check_version(hello, &err);
    if (!e)
        e = check_role(hello, &err);
    if (!e)
        e = admission(head, &err);
    if (!e && !head_may_join(head, route, request))
        return;
    const struct member *namesake = e ? NULL : members_by_name(&head->members, hello->name);
    if (namesake && namesake->worker == hello->worker)
        namesake = NULL;
    if (!e && (namesake || head_looks_for_members(head)) && head_post_ask(head, namesake))
        return;
    if (!e)
        e = job_admit(&head->job, hello->numerics, &err);
    if (!e)
        fence_before(head, route, hello);
    if (!e)
        e = head_crowd_admit(head, &err);
    struct member *member = e ? NULL : add_member(head, hello, &err);
    if (!member) {
        log_refusal(head, hello->name, &err);
        head_refuse(head, route, request, err.code, err.text);
        return;
    }
    job_take_numerics(&head->job, hello->numerics); /* fencing the last member has it forget them */
    member->route = *route;
    member->features = hello->features;
    member->pid = hello->pid;
    member->threads = hello->threads;
    member->last_seen_ms = mono_ms();
    log_info("worker-hello worker=\"%s\" number=%u attempt=%u", member->name, members_number(&head->members, member),
             member->attempt);
    welcome(head, route, request, member);
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
    reply(head, &member->route, request, &header);
}

static void refuse_join(struct head *head, struct member *member, const Dp__Header *request, const dp_error *err)
{
    log_refusal(head, member->name, err);
    head_refuse(head, &member->route, request, err->code, err->text);
    head_fence(head, member, "refused");
}

/* Whether the worker fits the job, or settles it. DP_HELLO_REQUIRED: another worker's data had settled it, which is
 * gone before the job began. */
static dp_err settle_or_check(struct head *head, const Dp__Join *join, dp_error *err)
{
    dp_err e = admission(head, err);
    if (e)
        return e;
    if (!head->job.settled)
        return head_settle(head, join, err);
    e = job_check(&head->job, join, err);
    if (!head_vacant(head) || (!e && job_same_numerics(&head->job)))
        return e;
    head_reopen(head, e ? err->text : "its numbers were those of another kind of CPU or build");
    return dp_fail(err, DP_HELLO_REQUIRED, "the job is settled anew, say hello again");
}

static void on_join(struct head *head, struct member *member, const Dp__Header *request)
{
    dp_error err;
    const struct routing_id route = member->route;
    bool other = head_looks_for_members(head) && job_check(&head->job, request->join, &err);
    if (other && (head_post_ask(head, NULL) || member->state == MEMBER_NONE))
        return;
    dp_err e = settle_or_check(head, request->join, &err);
    if (e == DP_HELLO_REQUIRED) {
        head_refuse(head, &route, request, e, err.text);
        return;
    }
    if (e) {
        refuse_join(head, member, request, &err);
        return;
    }
    bool again = member->state == MEMBER_JOINED;
    if (!again && head_ranks_admit(head, &err)) {
        head_refuse(head, &member->route, request, err.code, err.text);
        return;
    }
    if (!again && !head_open_session(head, member->token)) {
        head_refuse(head, &member->route, request, DP_BUSY, "the shards have too much to do, try again");
        return;
    }
    if (job_learn_labels(&head->job, request->join, &err)) {
        head_refuse(head, &member->route, request, err.code, err.text);
        return;
    }
    joined(head, member, request);
    if (!again) {
        members_join(&head->members, member, mono_ms());
        log_info("worker-joined worker=\"%s\" workers=%u", member->name, head->members.joined);
    }
    head_deal(head);
}

/* ---- the rest ---- */

static void on_heartbeat(struct head *head, struct member *member, const struct routing_id *route,
                         const Dp__Header *request)
{
    const Dp__Heartbeat *beat = request->heartbeat;
    uint64_t now = mono_ms();
    members_hear(member, beat->samples, now);
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
    reply(head, route, request, &header);
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

static void on_status(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    json_t *document = head_status(head);
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(document);
    zmq_msg_t payload;
    if (!text || head_post_payload(head, text, &payload)) {
        head_refuse(head, route, request, DP_NOMEM, "out of memory for the status");
        return;
    }
    Dp__Status status = DP__STATUS__INIT;
    Dp__Header header = DP__HEADER__INIT;
    header.request = request->request;
    header.body_case = DP__HEADER__BODY_STATUS;
    header.status = &status;
    if (head_send(head, route, &header, &payload))
        log_debug("status-lost");
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
        member->route = *route;
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
    switch (header->body_case) {
    case DP__HEADER__BODY_HELLO:
        on_hello(head, &route, header);
        break;
    case DP__HEADER__BODY_STATUS_REQUEST:
        on_status(head, &route, header);
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
