/* Messages of the head: answers to hello and join, slots, and what it says unasked. Thread: the one that uses the
 * client. */
#include "worker/client/head.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/client/state.h"

/* With a long lease too an outage is to be found in seconds. */
enum { HEARTBEAT_MOST_MS = 1000 };

static void answer_refuse(struct dp_client *client, const Dp__Header *header)
{
    tell_error(&client->head.question.refusal, dp_err_from_wire(header->error->code), header->error->text);
    client->head.question.hang_up = header->error->hang_up;
    client->head.question.answered = true;
}

static dp_err welcome_first(struct dp_client *client, const Dp__Job *msg, dp_error *err)
{
    dp_err e = client_job_take(msg, &client->head.welcome_job, err);
    if (e == DP_OK)
        client->head.view = client->head.welcome_job.view;
    return e;
}

/* Before we have joined: what data were read by, and tensors declared by, must still hold. */
static dp_err welcome_unjoined(struct dp_client *client, const struct client_job *job, dp_error *err)
{
    const struct client_job *was = &client->head.welcome_job;
    dp_err e = client_job_like(was, job, err);
    if (was->view.tensor_count == 0 || client_job_same(was, job, err) == DP_OK)
        return e;
    client->head.anew = true;
    return dp_fail(err, DP_INCARNATION,
                   "%s was settled by another worker's data when this one connected, and no longer is: connect again",
                   client->config.server);
}

/* To join another job would settle it by our data and our model, where it has no worker yet, and so shut out its own.
 */
static dp_err welcome_again(struct dp_client *client, const Dp__Job *msg, dp_error *err)
{
    struct client_job job;
    dp_err e = client_job_take(msg, &job, err);
    if (e)
        return e;
    e = client->job.view.model ? client_job_like(&client->job, &job, err) : welcome_unjoined(client, &job, err);
    client_job_fini(&job);
    return e;
}

static dp_err welcome_take(struct dp_client *client, const Dp__Header *header, dp_error *err)
{
    client->session.heartbeat_ms = MIN(header->welcome->heartbeat_ms, (uint32_t)HEARTBEAT_MOST_MS);
    client->session.features = header->welcome->features;
    (void)str_copy(client->session.host, sizeof client->session.host, header->welcome->host);
    /* In a local job the slot became void with the old session, and the new one may be of another rank. */
    if (client->session.id && (header->incarnation != client->session.incarnation || client->head.view.local))
        step_forget(client);
    client->session.id = header->session;
    client->session.incarnation = header->incarnation;
    return client->head.view.model ? welcome_again(client, header->welcome->job, err)
                                   : welcome_first(client, header->welcome->job, err);
}

/* The first job settles ours; later ones must be equal to it. */
static dp_err joined_take(struct dp_client *client, const Dp__Joined *joined, dp_error *err)
{
    const Dp__Job *msg = joined->job;
    struct client_job job;
    client->head.train_step = joined->train_step;
    dp_err e = client_job_take(msg, &job, err);
    if (e)
        return e;
    if (!client->job.view.model) {
        client->job = job;
        client->head.view = job.view;
    } else {
        e = client_job_same(&client->job, &job, err);
        if (!e) {
            client_job_extend(&client->job, &job); /* from the next step on: another incarnation begins with one */
            client->head.view = client->job.view;
        }
        client_job_fini(&job);
    }
    layout_fini(&client->head.layout);
    if (e == DP_OK)
        e = layout_take(msg, client->head.address.host, &client->head.layout, err);
    return e;
}

static void answer_take(struct dp_client *client, const Dp__Header *header)
{
    dp_error err;
    dp_err e = header->body_case == DP__HEADER__BODY_WELCOME ? welcome_take(client, header, &err)
                                                             : joined_take(client, header->joined, &err);
    client->head.question.answered = true;
    if (e)
        client->head.question.refusal = err;
}

static void assign_take(struct dp_client *client, const Dp__Assign *msg)
{
    const struct duty_assign assign = {.from_step = msg->from_step,
                                       .slots = msg->slots,
                                       .slot_count = msg->n_slots,
                                       .extra_step = msg->extra_step,
                                       .extra_slots = msg->extra_slots,
                                       .extra_count = msg->n_extra_slots};
    duty_take(&client->duty, &assign, step_floor(client));
    step_assigned(client, &assign);
}

static void head_error_take(struct dp_client *client, const Dp__Header *header)
{
    dp_err code = dp_err_from_wire(header->error->code);
    if (client->head.question.request && header->request == client->head.question.request) {
        client_challenge_take(header->error, &client->head.question.challenge);
        answer_refuse(client, header);
    } else if (code == DP_HELLO_REQUIRED || code == DP_INCARNATION)
        client->session.lost = true;
    else
        tell_end(&client->tell, code, header->error->text);
}

static void head_take(struct dp_client *client, const Dp__Header *header)
{
    const struct head_question *question = &client->head.question;
    switch (header->body_case) {
    case DP__HEADER__BODY_WELCOME:
    case DP__HEADER__BODY_JOINED:
        if (question->request && header->request == question->request && header->body_case == question->awaited)
            answer_take(client, header);
        break;
    case DP__HEADER__BODY_ASSIGN:
        if (session_owns(&client->session, header))
            assign_take(client, header->assign);
        break;
    case DP__HEADER__BODY_HEARTBEAT_ACK:
        if (session_owns(&client->session, header))
            beat_raise_low(&client->beat, header->heartbeat_ack->global_low);
        break;
    case DP__HEADER__BODY_STALL:
        tell_notice(&client->tell, "%s", header->stall->text);
        break;
    case DP__HEADER__BODY_NOTICE:
        tell_end(&client->tell, dp_err_from_wire(header->notice->code), header->notice->text);
        break;
    case DP__HEADER__BODY_ERROR:
        head_error_take(client, header);
        break;
    default:
        break;
    }
}

dp_err head_drain(struct dp_client *client, dp_error *err)
{
    for (bool any = true; any;) {
        struct link_message message;
        dp_err e = link_receive(&client->head.link, &client->arena, &message, &any, err);
        if (e)
            return e;
        if (!any)
            break;
        client->session.heard_ms = mono_ms();
        head_take(client, message.header);
        link_message_close(&message);
    }
    if (link_news(&client->head.link) != LINK_NOTHING) /* also where it is back by now: what the head said is lost */
        client->session.lost = true;
    return DP_OK;
}

dp_err head_bye(struct dp_client *client, dp_err code, const char *text)
{
    char clean[FRAME_TEXT_MAX + 1];
    Dp__Bye body = DP__BYE__INIT;
    Dp__Header header = session_header(&client->session);
    if (!client->head.link.socket || !client->session.id)
        return DP_UNREACHABLE;
    text_clean(clean, sizeof clean, text ? text : "");
    body.code = (uint32_t)code;
    body.text = clean;
    header.body_case = DP__HEADER__BODY_BYE;
    header.bye = &body;
    return link_send(&client->head.link, &header, NULL, 0);
}
