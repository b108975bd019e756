/* The data plane: pushes and pulls over the shards.
 *
 * A message is sent once for each piece: a slice, or a part of a table (plane_rows.c). Whatever is lost is sent
 * again. The shard says what that is (ask.c): it is asked after a connection was made anew, after BUSY, and
 * where there is no answer for long. A little is sent again at once. A server that cannot be asked is sent everything
 * after a connection was made anew; where there is merely no answer for long, first the pulls, which cost nothing, then
 * everything. All of it is idempotent. Thread: the one that uses the client. */

#include "common/base/util.h"
#include "worker/client/client.h"

_Static_assert((int)ARRIVAL_STALENESS_MAX == (int)FRAME_STALENESS_MAX, "a step may be as stale as messages say");

uint32_t plane_pieces_of(const struct shard *shard)
{
    return shard->slice_count + shard->part_count;
}

uint32_t plane_piece(const struct dp_client *client, const struct shard *shard, uint32_t i)
{
    return i < shard->slice_count ? shard->first_slice + i
                                  : client->theta.slice_count + shard->first_part + (i - shard->slice_count);
}

static void resend_at(struct shard *shard, uint64_t at_ms, bool pushes)
{
    if (shard->resend_at_ms == 0 || at_ms < shard->resend_at_ms)
        shard->resend_at_ms = at_ms;
    shard->resend_pushes |= pushes;
}

void plane_resend_later(struct dp_client *client, struct shard *shard)
{
    shard->busy_wait_ms =
        shard->busy_wait_ms ? MIN(2 * shard->busy_wait_ms, client->timing.busy_max) : client->timing.busy;
    arrival_doubt(&client->arrival); /* what is sent again is of the step at hand then */
    resend_at(shard, mono_ms() + shard->busy_wait_ms, true);
}

void plane_metrics(const struct sent_node *node, Dp__Metrics *metrics)
{
    metrics->count = node->value.metrics.count;
    metrics->loss = node->value.metrics.loss;
    metrics->correct = node->value.metrics.correct;
}

static void push_fill(const struct dp_client *client, const struct sent_node *node, Dp__Metrics *metrics,
                      Dp__PushPull *body)
{
    plane_metrics(node, metrics);
    body->push = true;
    body->step = client->theta.step;
    body->level = node->node.level;
    body->index = node->node.index;
    body->metrics = metrics;
    body->read = node->value.slab ? client->theta.now_have[body->slice] : 0;
}

/* A payload that is the slice's part of the slab, which is kept until the message has left. */
static dp_err payload_init(zmq_msg_t *payload, struct slab *slab, struct range slice)
{
    float *values = slab->values + slice.first;
    if (zmq_msg_init_data(payload, values, slice.count * sizeof *values, slab_drop_message, slab))
        return DP_NOMEM;
    slab_keep(slab);
    return DP_OK;
}

struct link *shard_lane(const struct dp_client *client, struct shard *shard, uint32_t piece)
{
    return &shard->lanes[client->done ? 0 : piece % shard->lane_count];
}

/* One message: `node` may be NULL for a pull alone. */
static void slice_send(struct dp_client *client, struct shard *shard, uint32_t slice, const struct sent_node *node,
                       bool pull)
{
    Dp__Header header = session_header(client);
    Dp__PushPull body = DP__PUSH_PULL__INIT;
    Dp__Metrics metrics = DP__METRICS__INIT;
    zmq_msg_t payload;
    struct slab *slab = node ? node->value.slab : NULL;
    header.body_case = DP__HEADER__BODY_PUSH_PULL;
    header.push_pull = &body;
    body.slice = slice;
    if (node)
        push_fill(client, node, &metrics, &body);
    body.slab = share_name(client, slab);
    if (pull) {
        body.pull = true;
        body.pull_step = client->theta.want;
        body.have = client->theta.now_have[slice];
    }
    bool has_payload = slab && !body.slab;
    dp_err e = has_payload ? payload_init(&payload, slab, client->theta.slices[slice]) : DP_OK;
    if (e == DP_OK)
        e = link_send(shard_lane(client, shard, slice), &header, &payload, has_payload);
    if (e)
        plane_resend_later(client, shard);
}

/* A pull that has no answer is asked again after a while; `asked_again` turns on and off, see above. */
static void pull_watch(struct dp_client *client, struct shard *shard)
{
    shard->resend_wait_ms = client->timing.resend;
    shard->busy_wait_ms = 0;
    shard->resend_pushes = false;
    shard->asked_again = false;
    shard->resend_at_ms = mono_ms() + shard->resend_wait_ms;
}

bool plane_piece_missing(const struct dp_client *client, uint32_t piece)
{
    return client->theta.got[piece] == THETA_MISSING;
}

void plane_piece_send(struct dp_client *client, struct shard *shard, uint32_t piece, const struct sent_node *node,
                      bool pull)
{
    if (piece < client->theta.slice_count)
        slice_send(client, shard, piece, node, pull);
    else
        rows_send(client, shard, piece - client->theta.slice_count, node, pull);
}

/* Sends nodes [first, sent_count) of the step and then, with the last of them, the pull. */
static void shard_send(struct dp_client *client, struct shard *shard, uint32_t first, bool pull)
{
    for (uint32_t i = 0; i < plane_pieces_of(shard); i++) {
        uint32_t piece = plane_piece(client, shard, i);
        bool missing = plane_piece_missing(client, piece);
        if (!missing && client->arrival.staleness == 0)
            continue; /* it has what is sent, since it has answered */
        for (uint32_t n = first; n < client->sent_count; n++)
            plane_piece_send(client, shard, piece, &client->sent[n], pull && missing && n + 1 == client->sent_count);
        if (pull && missing && first >= client->sent_count)
            plane_piece_send(client, shard, piece, NULL, true);
    }
}

/* To all shards. */
static void plane_send(struct dp_client *client, uint32_t first, bool pull)
{
    for (uint32_t i = 0; i < client->shard_count; i++) {
        struct shard *shard = &client->shards[i];
        bool again = pull && shard->resend_at_ms && shard->resend_pushes; /* the watch begins anew: send them now */
        bool ask = again && ask_first(client, shard, true);
        if (pull)
            pull_watch(client, shard);
        shard_send(client, shard, again && !ask ? 0 : first, pull);
        if (ask)
            resend_at(shard, mono_ms(), true);
    }
    client->pulled |= pull;
}

void plane_push(struct dp_client *client, bool pull)
{
    plane_send(client, client->sent_count - 1, pull);
}

void plane_pull(struct dp_client *client)
{
    plane_send(client, client->sent_count, true);
}

void plane_pull_more(struct dp_client *client)
{
    for (uint32_t i = 0; i < client->shard_count; i++) {
        struct shard *shard = &client->shards[i];
        resend_at(shard, mono_ms() + client->timing.resend, false);
        rows_pull_more(client, shard);
    }
}

bool plane_missing(const struct dp_client *client, const struct shard *shard)
{
    for (uint32_t i = 0; i < plane_pieces_of(shard); i++)
        if (plane_piece_missing(client, plane_piece(client, shard, i)))
            return true;
    return false;
}

/* On arrival no answer depends on pushes, so that a shard may lack some where nothing is missing. */
static void shard_resend(struct dp_client *client, struct shard *shard, uint64_t now_ms)
{
    const bool arrival = client->arrival.staleness > 0, missing = plane_missing(client, shard);
    const bool lacking = tables_lacks(&client->tables, shard->first_part, shard->part_count);
    const bool lost = shard->resend_pushes, pushes = lost || (missing && (shard->asked_again || arrival));
    shard->resend_at_ms = 0;
    shard->resend_pushes = false;
    shard->asked_again = missing && !pushes;
    if ((missing && client->pulled) || lacking) {
        shard->resend_wait_ms = MIN(MAX(2 * shard->resend_wait_ms, client->timing.resend), client->timing.resend_max);
        shard->resend_at_ms = now_ms + shard->resend_wait_ms;
    }
    rows_pull_more(client, shard);
    if (ask_first(client, shard, lost)) {
        shard->asked_again = false;
        outage_unanswered(client, shard, now_ms);
        if (!client->rejoin)
            ask_send(client, shard);
    } else if (missing || (arrival && pushes)) {
        shard_send(client, shard, pushes ? 0 : client->sent_count, client->pulled);
    }
}

void plane_resend_due(struct dp_client *client, uint64_t now_ms)
{
    for (uint32_t i = 0; i < client->shard_count; i++) {
        struct shard *shard = &client->shards[i];
        if (shard->resend_at_ms && now_ms >= shard->resend_at_ms)
            shard_resend(client, shard, now_ms);
    }
}

void plane_resend_all(struct dp_client *client)
{
    arrival_doubt(&client->arrival);
    for (uint32_t i = 0; i < client->shard_count; i++)
        resend_at(&client->shards[i], mono_ms(), true);
}

static dp_err params_take(struct dp_client *client, struct shard *shard, const struct link_message *message,
                          bool *ret_new, dp_error *err)
{
    const Dp__Params *params = message->header->params;
    const struct theta_answer answer = {.slice = params->slice,
                                        .step = params->step,
                                        .version = params->version,
                                        .unchanged = params->unchanged,
                                        .last = params->last,
                                        .staleness = params->staleness,
                                        .accepted = params->accepted.data,
                                        .accepted_bytes = params->accepted.len,
                                        .plane = params->plane,
                                        .values = message->values,
                                        .bytes = message->bytes};
    if (params->slice - shard->first_slice >= shard->slice_count)
        return dp_fail(err, DP_PROTO, "parameters of slice %u, which is another shard's", params->slice);
    if (!params->last && params->step >= client->job.steps)
        return dp_fail(err, DP_PROTO, "parameters of step %llu, the job has %llu", (unsigned long long)params->step,
                       (unsigned long long)client->job.steps);
    dp_err e = theta_take(&client->theta, &answer, ret_new, err);
    if (e == DP_OK)
        share_take(client, params->slice, params->done);
    return e;
}

/* An answer to a pull. */
static dp_err answer_take(struct dp_client *client, struct shard *shard, const struct link_message *message,
                          dp_error *err)
{
    bool is_new = false;
    dp_err e = message->header->body_case == DP__HEADER__BODY_PARAMS ? params_take(client, shard, message, &is_new, err)
                                                                     : rows_take(client, shard, message, &is_new, err);
    if (e)
        return dp_fail_in(err, "shard %s", shard->lanes[0].name);
    if (is_new) {
        client->progress_ms = mono_ms();
        client->rejoin_wait_ms = 0;
        shard->resend_wait_ms = client->timing.resend;
        shard->asked_again = false;
        if (!shard->resend_pushes) /* what it has not taken is not put off */
            shard->resend_at_ms = client->progress_ms + shard->resend_wait_ms;
    }
    return DP_OK;
}

/* Messages sent before the last refusal of this kind are refused as well, which says nothing new. */
static void not_dealt_take(struct dp_client *client, const Dp__Header *header)
{
    if (!client->theta.valid || header->error->step != client->theta.step || header->request <= client->undealt_request)
        return;
    client->undealt_request = client->request;
    client_notice(client, "step %llu: %s; computing what is dealt to this worker now",
                  (unsigned long long)client->theta.step, header->error->text);
    step_anew(client);
}

static void error_take(struct dp_client *client, struct shard *shard, const Dp__Header *header)
{
    const Dp__Error *error = header->error;
    char text[sizeof client->end.text];
    size_t at = 0;
    dp_err code = dp_err_from_wire(error->code);
    switch (code) {
    case DP_HELLO_REQUIRED:
    case DP_INCARNATION:
        client->rejoin = true;
        return;
    case DP_BUSY:
        plane_resend_later(client, shard);
        return;
    case DP_KEYS_UNKNOWN:
        rows_keys_unknown(client, error);
        resend_at(shard, mono_ms(), true);
        return;
    case DP_STEP_DONE:
        if (error->step > client->theta.want && error->step <= client->job.steps)
            step_complete(client, error->step);
        return;
    case DP_REFUSED:
        if (error->not_dealt) {
            not_dealt_take(client, header);
            return;
        }
        /* fall through */
    default:
        str_append(text, sizeof text, &at, "shard %s: %s", shard->lanes[0].name,
                   error->text[0] ? error->text : dp_err_text(code));
        client_end(client, code, text);
    }
}

static dp_err message_take(struct dp_client *client, struct shard *shard, const struct link_message *message,
                           dp_error *err)
{
    const Dp__Header *header = message->header;
    if (header->body_case == DP__HEADER__BODY_ERROR)
        error_take(client, shard, header);
    else if (header->body_case == DP__HEADER__BODY_HELD && session_owns(client, header))
        ask_take(client, shard, header);
    else if ((header->body_case == DP__HEADER__BODY_PARAMS || header->body_case == DP__HEADER__BODY_ROWS) &&
             session_owns(client, header))
        return answer_take(client, shard, message, err);
    return DP_OK;
}

/* Ends with the last answer of the step, to begin the next one at once: what may be behind it keeps until its answers
 * are looked for. */
static dp_err lane_drain(struct dp_client *client, struct shard *shard, struct link *lane, dp_error *err)
{
    dp_err e = DP_OK;
    for (bool any = true; e == DP_OK && any && !theta_whole(&client->theta);) {
        struct link_message message;
        e = link_receive(lane, &client->arena, &message, &any, err);
        if (e || !any)
            break;
        client->heard_ms = mono_ms();
        e = message_take(client, shard, &message, err);
        link_message_close(&message);
    }
    return e;
}

void plane_lane_lost(struct dp_client *client, struct shard *shard)
{
    arrival_doubt(&client->arrival);
    resend_at(shard, mono_ms(), true);
}

/* What was lost with a lane is sent again as soon as that is back; people are told of the shard as a whole. One that
 * stays away while the head is there is looked for anew, which tells the server too: see reach.c. */
static void shard_news(struct dp_client *client, struct shard *shard)
{
    bool lost = false;
    for (uint32_t i = 0; i < shard->lane_count; i++) {
        if (link_news(&shard->lanes[i]) == LINK_BACK) {
            ask_greet(client, shard, i);
            plane_lane_lost(client, shard);
        }
        lost |= shard->lanes[i].lost;
    }
    if (lost && !shard->lost)
        client_notice(client, "lost the connection to shard %s, connecting again", shard->lanes[0].name);
    else if (!lost && shard->lost)
        client_notice(client, "shard %s is back", shard->lanes[0].name);
    if (lost && !shard->lost)
        shard->lost_ms = mono_ms();
    else if (lost && mono_ms() - shard->lost_ms > client->timing.shard_lost)
        client->rejoin = true;
    shard->lost = lost;
}

dp_err plane_drain(struct dp_client *client, dp_error *err)
{
    dp_err e = DP_OK;
    for (uint32_t i = 0; e == DP_OK && i < client->shard_count; i++) {
        struct shard *shard = &client->shards[i];
        for (uint32_t k = 0; e == DP_OK && k < shard->lane_count; k++)
            e = lane_drain(client, shard, &shard->lanes[k], err);
        shard_news(client, shard);
    }
    return e;
}
