/* The head without a socket of its own: what workers say comes from the one shard's port, and goes there;
 * server/net/post.h. It is known later whether a message could be sent. Thread: head. */
#include "server/talk/post.h"

#include "common/base/mem.h"
#include "server/talk/shared.h"

dp_err head_post_start(struct head *head, dp_error *err)
{
    head->talk.post = mem_array_zero(1, sizeof *head->talk.post);
    if (!head->talk.post || post_init(head->talk.post))
        return dp_fail(err, DP_NOMEM, "out of memory for the server");
    head->talk.answers.post = head->talk.post;
    return DP_OK;
}

void head_post_fini(struct head *head)
{
    if (head->talk.post)
        post_fini(head->talk.post);
    mem_freep(&head->talk.post);
}

dp_err head_post_send(struct head *head, enum letter_about about, uint64_t session, zmq_msg_t *frames, size_t count)
{
    struct letter *letter = letter_new(about, session, frames, count);
    if (!letter)
        return DP_NOMEM;
    if (head->talk.post->wake)
        return post_send(head->talk.post, letter);
    post_done(head->talk.post, letter); /* all was closed while it was under way */
    return DP_SHUTDOWN;
}

/* ---- a port that is busy ---- */

bool head_post_stuck(struct head *head, uint64_t now_ms)
{
    if (!head->talk.post)
        return false;
    bool stuck = head->talk.turn_ms && head->talk.turn_ms < now_ms;
    if (!head->talk.turn_ms && head_post_send(head, ABOUT_TURN, 0, NULL, 0) == DP_OK)
        head->talk.turn_ms = now_ms;
    return stuck;
}
