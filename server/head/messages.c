/* Messages of clients to the head, and its answers. A bad message is answered with an error and changes nothing.
 * Thread: head. */
#include "server/head/messages.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/util.h"
#include "server/assign/balance.h"
#include "server/assign/hung.h"
#include "server/assign/ranks.h"
#include "server/head/answers.h"
#include "server/head/control.h"
#include "server/head/hello.h"
#include "server/head/join.h"
#include "server/result/checkpoint.h"
#include "server/result/closing.h"
#include "server/result/fetch.h"
#include "server/talk/guard.h"
#include "server/talk/leave.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum { MOVED_LEAST_BYTES = 16 << 10 /* questions and headers alone are fewer */ };

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
        if (!head->ending->returns)
            head_on_join(head, member, header);
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
    head->talk.malformed++;
    if (log_limit_pass(&head->talk.malformed_limit, mono_ms(), &left_out))
        log_warn("malformed-message at=head reason=\"%s\" more=%" PRIu64, err->text, left_out);
}

void head_on_message(void *arg, zmq_msg_t *frames, size_t count)
{
    struct head *head = arg;
    const Dp__Header *header;
    dp_error err = {.text = "a message needs a header frame, and has no more than a few frames"};
    struct routing_id route;
    if (count < 2 || zmq_msg_size(&frames[0]) > sizeof route.id ||
        frame_parse(&head->talk.arena, zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), count - 2, &header, &err)) {
        malformed(head, &err);
        return;
    }
    route.bytes = (uint8_t)zmq_msg_size(&frames[0]);
    memcpy(route.id, zmq_msg_data(&frames[0]), route.bytes);
    head->talk.came_by = zmq_msg_get(&frames[1], ZMQ_SRCFD);
    switch (header->body_case) {
    case DP__HEADER__BODY_HELLO:
        if (!head->ending->returns) /* else it is heard by the server that comes: a refusal would end the worker */
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
    case DP__HEADER__BODY_CHECKPOINT:
        if (head_may_admin(head, &route, header))
            head_on_checkpoint(head, &route, header);
        break;
    case DP__HEADER__BODY_JOIN:
    case DP__HEADER__BODY_HEARTBEAT:
    case DP__HEADER__BODY_BYE:
        on_member(head, &route, header);
        break;
    default:
        head_refuse(head, &route, header, DP_PROTO,
                    "the head takes hello, join, heartbeat, bye, status_request, set, export and checkpoint");
        break;
    }
}
