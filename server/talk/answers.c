/* Large answers, whose bytes are counted (server/members/answers.h). Thread: head. */
#include "server/talk/answers.h"

#include "server/talk/shared.h"

dp_err head_answer_frame(struct head *head, const struct routing_id *route, char *block, size_t bytes,
                         zmq_msg_t *ret_frame)
{
    uint32_t peer = post_sender(route->id, route->bytes);
    struct answer_text *text = answer_text_new(&head->talk.answers, block, bytes);
    if (!text)
        return DP_NOMEM;
    dp_err e = answers_may(&head->talk.answers, peer, bytes) ? answer_frame(text, peer, false, ret_frame) : DP_BUSY;
    answer_text_release(&text);
    return e;
}
