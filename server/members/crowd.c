/* Descriptors for workers; see crowd.h. Thread: head. */
#include "server/members/crowd.h"

#include "common/base/util.h"
#include "server/zmtp/gate.h"

enum { SHARE = 8, RESERVE_MIN = 8, RESERVE_MAX = 64, STRANGERS_MIN = 4 };

uint64_t crowd_reserve(const struct crowd *crowd)
{
    uint64_t left = crowd->limit - MIN(crowd->limit, crowd->own);
    return MIN(MAX(left / SHARE, (uint64_t)RESERVE_MIN), (uint64_t)RESERVE_MAX);
}

bool crowd_has_room(const struct crowd *crowd, uint64_t taken, uint64_t wanted)
{
    return crowd->own + taken + wanted + crowd_reserve(crowd) <= crowd->limit;
}

/* Not all that is left: those that are being closed have theirs for a moment more. */
uint32_t crowd_strangers(const struct crowd *crowd, uint64_t taken)
{
    uint64_t used = crowd->own + taken, left = crowd->limit - MIN(crowd->limit, used);
    uint64_t most = MIN(left / 4 * 3, (uint64_t)gate_strangers_most(crowd->limit));
    return (uint32_t)MAX(most, (uint64_t)STRANGERS_MIN);
}
