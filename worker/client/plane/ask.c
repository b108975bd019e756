/* Sending again only what is lost. A shard is asked what it has of the step, by the connection that the pushes went by:
 * its answer is behind them, so that a push that it does not name is lost and not on its way. Until the answer comes,
 * however slow the link, nothing is sent twice. Thread: the one that uses the client. */
#include "worker/client/plane/ask.h"

#include "common/base/util.h"
#include "worker/client/plane/piece.h"
#include "worker/client/plane/plane.h"

enum { LITTLE_BYTES = 64 << 10 }; /* sent again without asking, after a connection was made anew */

/* The answer is to no question that ask_take knows. */
void ask_greet(struct plane *plane, struct shard *shard, uint32_t lane)
{
    uint32_t i = 0, pieces = piece_count(shard);
    while (i < pieces && shard_lane(plane, shard, piece_id(plane, shard, i)) != &shard->lanes[lane])
        i++;
    if (i == pieces || !(plane->session->features & FRAME_FEATURE_ASK))
        return;
    Dp__Header header = session_header(plane->session);
    Dp__Ask body = DP__ASK__INIT;
    header.request = 0;
    header.body_case = DP__HEADER__BODY_ASK;
    header.ask = &body;
    body.piece = piece_id(plane, shard, i);
    if (link_send(&shard->lanes[lane], &header, NULL, 0) != DP_OK)
        return; /* its queue is full: it says enough */
}

bool ask_first(const struct plane *plane, const struct shard *shard, bool lost)
{
    uint64_t bytes = 0;
    if (!(plane->session->features & FRAME_FEATURE_ASK))
        return false;
    if (!lost || shard->part_count > 0)
        return true;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        bytes += plane->theta.slices[shard->first_slice + i].count * sizeof(float);
    return bytes * plane->sent_count > LITTLE_BYTES;
}

void ask_send(struct plane *plane, struct shard *shard)
{
    shard->ask_first = plane->session->request + 1;
    shard->ask_nodes = plane->sent_count;
    shard->ask_open = 0;
    for (uint32_t i = 0; i < piece_count(shard); i++) {
        uint32_t piece = piece_id(plane, shard, i);
        bool pushed = plane->open->staleness > 0 && plane->sent_count > 0;
        if (!piece_missing(plane, piece) && !pushed)
            continue;
        Dp__Header header = session_header(plane->session);
        Dp__Ask body = DP__ASK__INIT;
        header.body_case = DP__HEADER__BODY_ASK;
        header.ask = &body;
        body.piece = piece;
        body.step = plane->theta.step;
        body.pull_step = plane->theta.want;
        if (shard_post(plane, shard, piece, &header, NULL, 0) == DP_OK)
            shard->ask_open++;
    }
}

/* Whether all of the node's slots that have rows are among those. */
static bool node_held(const struct fold *fold, struct fold_node node, const struct slot_set *held)
{
    uint32_t end = MIN((node.index + 1) << node.level, fold->slots);
    for (uint32_t slot = slot_set_first(&fold->rows, node.index << node.level, end); slot < end;
         slot = slot_set_first(&fold->rows, slot + 1, end))
        if (!slot_set_has(held, slot))
            return false;
    return true;
}

void ask_take(struct plane *plane, struct shard *shard, const Dp__Header *header)
{
    const Dp__Held *body = header->held;
    struct slot_set held = {0};
    if (shard->ask_first == 0 || header->request < shard->ask_first || !piece_is_of(plane, shard, body->piece))
        return;
    shard->ask_open -= shard->ask_open > 0;
    bool missing = piece_missing(plane, body->piece);
    if (body->step != plane->theta.step || (!missing && plane->open->staleness == 0))
        return;
    for (uint32_t slot = 0; slot < body->accepted.len * 8 && slot < SLOT_SET_MAX; slot++)
        if (body->accepted.data[slot / 8] >> slot % 8 & 1)
            slot_set_add(&held, slot);
    for (uint32_t n = 0; n < MIN(shard->ask_nodes, plane->sent_count); n++)
        if (!node_held(plane->fold, plane->sent[n].node, &held))
            piece_send(plane, shard, body->piece, &plane->sent[n], false);
    if (plane->pulled && missing && body->pull_step == plane->theta.want && !body->waits)
        piece_send(plane, shard, body->piece, NULL, true);
}
