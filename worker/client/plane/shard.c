/* A shard that has parameters. Thread: the one that uses the client. */
#include "worker/client/plane/shard.h"

#include <assert.h>

#include "common/base/util.h"
#include "worker/client/plane/plane.h"

struct link *shard_lane(const struct plane *plane, struct shard *shard, uint32_t piece)
{
    assert(shard->lane_count > 0 && shard->lane_count <= FRAME_LANES);
    return &shard->lanes[plane->carrier.ops->in_order ? 0 : piece % shard->lane_count];
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
