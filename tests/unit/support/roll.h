/* Numbers that are random enough for tests and the same in each run: xorshift64. A test may define ROLL_SEED before it
 * includes this. Thread: the test's. */
#ifndef DP_TESTS_UNIT_SUPPORT_ROLL_H
#define DP_TESTS_UNIT_SUPPORT_ROLL_H

#include <stdint.h>

#ifndef ROLL_SEED
#define ROLL_SEED 88172645463325252u
#endif

static uint64_t roll_state = ROLL_SEED;

/* 0 to below - 1. */
static inline uint32_t roll(uint32_t below)
{
    roll_state ^= roll_state << 13;
    roll_state ^= roll_state >> 7;
    roll_state ^= roll_state << 17;
    return (uint32_t)(roll_state >> 20) % below;
}

#endif
