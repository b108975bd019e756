/* Messages of the shards. Thread: the one that uses the client. */
#include "worker/client/answers.h"

#include "common/base/clock.h"
#include "common/base/text.h"
#include "worker/client/plane/ask.h"
#include "worker/client/plane/outage.h"
#include "worker/client/plane/piece.h"
#include "worker/client/state.h"

/* An answer to a pull. */
static dp_err pull_answered(struct dp_client *client, struct shard *shard, const struct link_message *message,
                            dp_error *err)
{
    bool is_new = false;
    dp_err e = piece_take(&client->plane, shard, message, &is_new, err);
    if (e)
        return dp_fail_in(err, "shard %s", shard_name(shard));
    if (is_new) {
        client->plane.progress_ms = mono_ms();
        rejoin_ends(&client->rejoin);
        shard->resend_wait_ms = client->timing.resend;
        shard->asked_again = false;
        if (!shard->resend_pushes) /* pushes that it has not taken are not put off */
            shard->resend_at_ms = client->plane.progress_ms + shard->resend_wait_ms;
    }
    return DP_OK;
}

/* Messages sent before the last refusal of this kind are refused as well, which says nothing new. */
static void not_dealt_take(struct dp_client *client, const Dp__Header *header)
{
    if (!client->plane.theta.valid || header->error->step != client->plane.theta.step ||
        header->request <= client->step.undealt_request)
        return;
    client->step.undealt_request = client->session.request;
    tell_notice(&client->tell, "step %llu: %s; computing what is dealt to this worker now",
                (unsigned long long)client->plane.theta.step, header->error->text);
    step_anew(client);
}

static void error_take(struct dp_client *client, struct shard *shard, const Dp__Header *header)
{
    const Dp__Error *error = header->error;
    char text[sizeof client->tell.end.text];
    size_t at = 0;
    dp_err code = dp_err_from_wire(error->code);
    switch (code) {
    case DP_HELLO_REQUIRED:
    case DP_INCARNATION:
        client->session.lost = true;
        return;
    case DP_BUSY:
        shard_resend_later(&client->plane, shard);
        return;
    case DP_KEYS_UNKNOWN:
        piece_forget(&client->plane, error->slice, error->keys);
        shard_resend_at(shard, mono_ms(), true);
        return;
    case DP_STEP_DONE:
        if (error->step > client->plane.theta.want && error->step <= client->job.steps)
            step_complete(client, error->step);
        return;
    case DP_REFUSED:
        if (error->not_dealt) {
            not_dealt_take(client, header);
            return;
        }
        /* fall through */
    default:
        str_append(text, sizeof text, &at, "shard %s: %s", shard_name(shard),
                   error->text[0] ? error->text : dp_err_text(code));
        tell_end(&client->tell, code, text);
    }
}

static dp_err message_take(struct dp_client *client, struct shard *shard, const struct link_message *message,
                           dp_error *err)
{
    const Dp__Header *header = message->header;
    if (header->body_case == DP__HEADER__BODY_ERROR)
        error_take(client, shard, header);
    else if (header->body_case == DP__HEADER__BODY_HELD && session_owns(&client->session, header))
        ask_take(&client->plane, shard, header);
    else if ((header->body_case == DP__HEADER__BODY_PARAMS || header->body_case == DP__HEADER__BODY_ROWS) &&
             session_owns(&client->session, header))
        return pull_answered(client, shard, message, err);
    return DP_OK;
}

/* Ends with the last answer of the step, to begin the next one at once: what may be behind it keeps until its answers
 * are looked for. */
static dp_err shard_drain(struct dp_client *client, struct shard *shard, dp_error *err)
{
    dp_err e = DP_OK;
    for (bool any = true; e == DP_OK && any && !theta_whole(&client->plane.theta);) {
        struct link_message message;
        e = shard_receive(shard, &client->arena, &message, &any, err);
        if (e || !any)
            break;
        client->session.heard_ms = mono_ms();
        e = message_take(client, shard, &message, err);
        link_message_close(&message);
    }
    return e;
}

dp_err answers_drain(struct dp_client *client, dp_error *err)
{
    dp_err e = DP_OK;
    for (uint32_t i = 0; e == DP_OK && i < client->plane.shard_count; i++) {
        struct shard *shard = &client->plane.shards[i];
        e = shard_drain(client, shard, err);
        outage_news(&client->plane, shard);
    }
    return e;
}
