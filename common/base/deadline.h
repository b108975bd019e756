/* Deadlines, as values of mono_ms. Thread: any. */
#ifndef DP_COMMON_BASE_DEADLINE_H
#define DP_COMMON_BASE_DEADLINE_H

#include <stdint.h>

#include "common/base/clock.h"

/* Time until the deadline; 0 once it has passed. */
static inline uint64_t deadline_left_ms(uint64_t deadline_ms)
{
    uint64_t now = mono_ms();
    return now < deadline_ms ? deadline_ms - now : 0;
}

/* To the nearest second, so that messages show what was configured. */
static inline uint64_t deadline_seconds(uint64_t ms)
{
    return (ms + 500) / 1000;
}

#endif
