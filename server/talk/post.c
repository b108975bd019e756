/* The head without a socket of its own: what workers say comes from the one shard's port, and goes there;
 * server/net/post.h.
 *
 * Whether a message could be sent is known later. What comes back was about a member that is then looked at: its slots
 * are sent again, or it is gone. Thread: head. */
#include "server/talk/shared.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/util.h"

/* At most so many letters in one go, for the events of the shard's to have their turn. */
enum { READ_MAX = 64 };

dp_err head_post_start(struct head *head, dp_error *err)
{
    head->post = mem_array_zero(1, sizeof *head->post);
    if (!head->post || post_init(head->post))
        return dp_fail(err, DP_NOMEM, "out of memory for the server");
    head->answers.post = head->post;
    return DP_OK;
}

void head_post_fini(struct head *head)
{
    if (head->post)
        post_fini(head->post);
    mem_freep(&head->post);
}

dp_err head_post_send(struct head *head, enum letter_about about, uint64_t session, zmq_msg_t *frames, size_t count)
{
    struct letter *letter = letter_new(about, session, frames, count);
    if (letter && !head->ports[0].running) { /* what was under way when all was closed */
        post_done(head->post, letter);
        return DP_SHUTDOWN;
    }
    dp_err e = letter ? post_send(head->post, letter) : DP_NOMEM;
    zuv_wake(&head->ports[0].wake);
    return e;
}

/* ---- what could not be sent ---- */

static void on_lost(struct head *head, const struct letter *letter)
{
    struct member *member = members_find(&head->members, letter->session);
    if (!member)
        return;
    if (letter->about == ABOUT_ASSIGN)
        head_assigned(head, member, letter->lost);
    else if (letter->lost == DP_UNREACHABLE && letter->about == ABOUT_PROBE)
        head_lose_unconnected(head, member);
    else if (letter->lost == DP_UNREACHABLE && letter->about == ABOUT_NAMESAKE)
        head_fence(head, member, "it was started again");
}

bool head_post_ask(struct head *head, const struct member *namesake)
{
    struct letter *letter = head->reading;
    if (!head->post)
        head_look_for_members(head);
    if (!head->post || letter->about == ABOUT_HELLO)
        return false;
    if (namesake)
        head_probe(head, namesake, ABOUT_NAMESAKE);
    head_look_for_members(head);
    letter->about = ABOUT_HELLO;
    head->reading = NULL;
    if (post_send(head->post, letter)) /* dropped: the worker asks again */
        log_debug("hello-lost reason=\"too much is under way\"");
    return true;
}

/* ---- reading ---- */

static void read_letter(struct head *head, struct letter *letter)
{
    if (letter->about == ABOUT_TURN)
        head->turn_ms = 0;
    else if (letter->lost)
        on_lost(head, letter);
    else {
        head->reading = letter;
        head_on_message(head, letter->frames, letter->count);
        if (!head->reading)
            return;
        head->reading = NULL;
    }
    post_done(head->post, letter);
}

void head_post_read(struct head *head)
{
    for (int i = 0; head->post && i < READ_MAX; i++) {
        struct letter *letter = post_receive(head->post);
        if (!letter)
            return;
        read_letter(head, letter);
    }
    if (head->post)
        zuv_wake(&head->wake);
}

/* ---- a port that is busy ---- */

bool head_post_stuck(struct head *head, uint64_t now_ms)
{
    if (!head->post)
        return false;
    bool stuck = head->turn_ms && head->turn_ms < now_ms;
    if (!head->turn_ms && head_post_send(head, ABOUT_TURN, 0, NULL, 0) == DP_OK)
        head->turn_ms = now_ms;
    return stuck;
}
