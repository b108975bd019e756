/* A shard that has parameters. Thread: the one that uses the client. */
#include "worker/client/plane/shard.h"

#include <assert.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "worker/client/plane/plane.h"

const char *shard_name(const struct shard *shard)
{
    return shard->lanes[0].name;
}

struct link *shard_lane(const struct plane *plane, struct shard *shard, uint32_t piece)
{
    assert(shard->lane_count > 0 && shard->lane_count <= FRAME_LANES);
    return &shard->lanes[plane->carrier.ops->in_order ? 0 : piece % shard->lane_count];
}

dp_err shard_post(struct plane *plane, struct shard *shard, uint32_t piece, const Dp__Header *header,
                  zmq_msg_t *payload, size_t count)
{
    dp_err e = link_send(shard_lane(plane, shard, piece), header, payload, count);
    if (e)
        shard_resend_later(plane, shard);
    return e;
}

dp_err shard_receive(struct shard *shard, struct arena *arena, struct link_message *ret_message, bool *ret_any,
                     dp_error *err)
{
    dp_err e = DP_OK;
    *ret_any = false;
    for (uint32_t k = 0; e == DP_OK && !*ret_any && k < shard->lane_count; k++)
        e = link_receive(&shard->lanes[k], arena, ret_message, ret_any, err);
    return e;
}

void shard_resend_at(struct shard *shard, uint64_t at_ms, bool pushes)
{
    if (shard->resend_at_ms == 0 || at_ms < shard->resend_at_ms)
        shard->resend_at_ms = at_ms;
    shard->resend_pushes |= pushes;
}

void shard_resend_later(struct plane *plane, struct shard *shard)
{
    shard->busy_wait_ms =
        shard->busy_wait_ms ? MIN(2 * shard->busy_wait_ms, plane->timing->busy_max) : plane->timing->busy;
    open_steps_doubt(plane->open); /* messages that are sent again are of the step at hand then */
    shard_resend_at(shard, mono_ms() + shard->busy_wait_ms, true);
}

void shard_lane_lost(struct plane *plane, struct shard *shard)
{
    open_steps_doubt(plane->open);
    shard_resend_at(shard, mono_ms(), true);
}
