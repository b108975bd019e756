/* Eight slots and eight members for tests of speculation. */
#ifndef DP_TESTS_UNIT_SUPPORT_SPECULATION_MEMBERS_H
#define DP_TESTS_UNIT_SUPPORT_SPECULATION_MEMBERS_H

#include <criterion/criterion.h>

#include "server/deal/speculation.h"

enum { SLOTS = 8, MEMBERS = 8, SLOT_US = 20000 };

static double speed[MEMBERS];
/* Two members with half of the slots each, at all steps. */
static uint32_t OWNER[SLOTS] = {0, 0, 0, 0, 1, 1, 1, 1};

static inline bool none_empty(const void *arg, uint32_t slot)
{
    (void)arg, (void)slot;
    return false;
}

static inline bool odd_empty(const void *arg, uint32_t slot)
{
    (void)arg;
    return slot % 2 == 1;
}

static inline bool lives(const void *arg, uint32_t member)
{
    return ((const bool *)arg)[member];
}

static inline void set_up(struct speculation *s)
{
    for (uint32_t m = 0; m < MEMBERS; m++)
        speed[m] = 1;
    cr_assert_eq(speculation_init(s, SLOTS, MEMBERS, speed), DP_OK);
    for (uint32_t m = 0; m < MEMBERS; m++)
        s->list[m].delivery.came_us = 1; /* all have delivered before */
}

#endif
