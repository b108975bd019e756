/* Descriptors for workers; see crowd.h. Thread: head. */
#include "crowd.h"

#include "util.h"

enum { SHARE = 8, RESERVE_MIN = 8, RESERVE_MAX = 64 };

uint64_t crowd_reserve(const struct crowd *crowd)
{
    uint64_t left = crowd->limit - MIN(crowd->limit, crowd->own);
    return MIN(MAX(left / SHARE, (uint64_t)RESERVE_MIN), (uint64_t)RESERVE_MAX);
}

bool crowd_has_room(const struct crowd *crowd, uint64_t taken, uint64_t wanted)
{
    return crowd->own + taken + wanted + crowd_reserve(crowd) <= crowd->limit;
}
