/* Asks the head, and waits for its answer. Thread: the one that uses the client. */
#include "worker/client/question.h"

#include <assert.h>
#include <string.h>

#include "common/base/deadline.h"
#include "common/base/entropy.h"
#include "common/base/util.h"
#include "worker/client/head.h"
#include "worker/client/state.h"

enum { QUESTION_STUCK_MS = 4000 };

void busy_begin(struct busy *busy)
{
    *busy = (struct busy){.begin_ms = mono_ms()};
}

/* Waits for something from the head, at most `ms`. */
static dp_err head_wait(struct dp_client *client, uint64_t ms, dp_error *err)
{
    struct link *head = &client->head.link;
    struct pollfd items[2];
    return links_wait(&head, 1, items, MIN(ms, client->timing.poll), err);
}

dp_err question_unanswered(const struct dp_client *client, uint64_t begin_ms, dp_error *err)
{
    if (client->busy.why.code)
        return dp_fail(err, client->busy.why.code, "%s: %.400s (waited %llu s)", client->config.server,
                       client->busy.why.text, (unsigned long long)deadline_seconds(mono_ms() - client->busy.begin_ms));
    return dp_fail(err, DP_UNREACHABLE,
                   "%s accepts connections but nothing there answers as dp-server (waited %llu s); is it the port that "
                   "dp-server printed?",
                   client->config.server, (unsigned long long)deadline_seconds(mono_ms() - begin_ms));
}

/* The server has no room for us now. False once the time is up, else it is to be asked again. */
static bool wait_busy(struct dp_client *client, Dp__Header *header, uint64_t deadline_ms)
{
    struct head_question *question = &client->head.question;
    bool told = client->busy.why.code && strcmp(client->busy.why.text, question->refusal.text) == 0;
    client->busy.why = question->refusal;
    if (deadline_left_ms(deadline_ms) == 0)
        return false;
    if (!told)
        tell_notice(&client->tell, "%s: %.300s; trying again", client->config.server, client->busy.why.text);
    question->answered = false;
    question->waited = true;
    question->refusal.code = DP_OK;
    header->proof.len = 0; /* it was taken: there will be another challenge */
    /* Before it has joined a worker's number means nothing yet, and another connection may hold it. */
    if (header->body_case == DP__HEADER__BODY_HELLO && !client->session.joined)
        header->hello->worker = client->session.worker = entropy_u64();
    return true;
}

/* Whether nothing that was sent arrives: the connection was lost with an outage, which TCP may not find out for long.
 */
static bool question_stuck(struct dp_client *client, uint64_t now_ms)
{
    struct path_state state;
    struct link *head = &client->head.link;
    return path_look(head->tcp, &state) && path_stuck_ms(&head->watch, &state, now_ms) >= QUESTION_STUCK_MS;
}

/* After what has come, or has not: why the question is not to be waited for any longer. */
static dp_err question_check(const struct dp_client *client, uint64_t begin_ms, uint64_t deadline_ms, dp_error *err)
{
    dp_err e = tell_check_stop(&client->tell, err);
    if (e == DP_OK)
        e = tell_check_end(&client->tell, err);
    if (e || client->head.question.answered)
        return e;
    if (client->session.lost)
        return dp_fail(err, DP_HELLO_REQUIRED, "lost the session with %s", client->config.server);
    return deadline_left_ms(deadline_ms) == 0 ? question_unanswered(client, begin_ms, err) : DP_OK;
}

/* The server is there, and has no room for us. */
static bool question_busy(const struct head_question *question)
{
    return question->refusal.code == DP_BUSY && !question->hang_up;
}

/* The answer as an error code. */
static dp_err question_result(const struct dp_client *client, uint64_t begin_ms, dp_error *err)
{
    const struct head_question *question = &client->head.question;
    assert(question->answered);
    if (question_busy(question))
        return question_unanswered(client, begin_ms, err);
    return question->refusal.code ? dp_fail(err, question->refusal.code, "%s", question->refusal.text) : DP_OK;
}

/* Sends the question if it is due; returns when it will be again. DP_SYSTEM. */
static dp_err question_send(struct dp_client *client, const Dp__Header *header, uint64_t *send_ms, dp_error *err)
{
    uint64_t now = mono_ms();
    if (question_stuck(client, now)) {
        *send_ms = now;
        dp_err e = link_reopen(&client->head.link, err);
        if (e)
            return e;
    }
    if (now >= *send_ms && link_send(&client->head.link, header, NULL, 0) != DP_NOMEM)
        *send_ms = now + client->timing.ask_again;
    return DP_OK;
}

dp_err question_ask(struct dp_client *client, Dp__Header *header, Dp__Header__BodyCase awaited, uint64_t deadline_ms,
                    dp_error *err)
{
    uint64_t begin_ms = mono_ms(), send_ms = begin_ms;
    client->head.question = (struct head_question){.request = header->request, .awaited = awaited};
    client->session.lost = false;
    dp_err e = DP_OK;
    while (e == DP_OK && !client->head.question.answered) {
        e = question_send(client, header, &send_ms, err);
        if (e)
            break;
        e = head_wait(client, MIN(deadline_left_ms(deadline_ms), deadline_left_ms(send_ms)), err);
        if (e == DP_OK)
            e = head_drain(client, err);
        if (e == DP_OK && question_busy(&client->head.question) && wait_busy(client, header, deadline_ms))
            send_ms = mono_ms() + client->timing.retry_max;
        if (e == DP_OK)
            e = question_check(client, begin_ms, deadline_ms, err);
    }
    if (e == DP_OK)
        e = question_result(client, begin_ms, err);
    client->head.question.request = 0;
    return e;
}
