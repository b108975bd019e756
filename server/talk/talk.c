/* The head speaks to workers and to dp-ctl: messages, answers, refusals. Lines of the log about peers are bounded.
 * Thread: head. */
#include "server/talk/talk.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "server/talk/answers.h"
#include "server/talk/post.h"
#include "server/talk/shared.h"

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
    if (!answers_may(&head->talk.answers, post_sender(route->id, route->bytes), bytes))
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
    if (head->talk.post)
        return head_post_send(head, about, header->session, frames, payload ? 3 : 2);
    return zuv_send(&head->talk.zuv, frames, payload ? 3 : 2);
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
    error.hang_up = code == DP_BUSY && request->body_case == DP__HEADER__BODY_HELLO && head->crowding.crowd.is_short;
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
    return may_log(&head->talk.peer_limit, LOG_WARN, "warnings-left-out");
}

bool head_may_inform(struct head *head)
{
    return may_log(&head->talk.info_limit, LOG_INFO, "lines-left-out");
}

/* To whoever has said hello. */
static void tell_members(struct head *head, Dp__Header *header)
{
    for (uint32_t i = 0; i < head->members.used; i++) {
        const struct member *member = &head->members.list[i];
        if (member->state == MEMBER_NONE)
            continue;
        header->session = member->token;
        if (head_send(head, &member->route, header, NULL))
            log_debug("notice-lost worker=\"%s\"", member->name);
    }
}

void head_notice(struct head *head, dp_err code, const char *text)
{
    char clean[FRAME_TEXT_MAX + 1];
    Dp__Notice notice = DP__NOTICE__INIT;
    Dp__Header header = DP__HEADER__INIT;
    text_clean(clean, sizeof clean, text);
    notice.code = (uint32_t)code;
    notice.text = clean;
    header.body_case = DP__HEADER__BODY_NOTICE;
    header.notice = &notice;
    tell_members(head, &header);
}

void head_remark(struct head *head, const char *text)
{
    char clean[FRAME_TEXT_MAX + 1];
    Dp__Stall stall = DP__STALL__INIT;
    Dp__Header header = DP__HEADER__INIT;
    text_clean(clean, sizeof clean, text);
    stall.step = head->global_low;
    stall.text = clean;
    header.body_case = DP__HEADER__BODY_STALL;
    header.stall = &stall;
    tell_members(head, &header);
}
