/* Speeds of members; see speeds.h. Thread: head. */
#include "server/deal/speeds.h"

#include "common/base/util.h"

/* Time that the slowest member needs for its slots. */
static double longest_us(const struct dealer *dealer, const double *slot_us)
{
    double longest = 0, run = 0;
    for (uint32_t k = 0; k < dealer->slots; k++) {
        uint32_t owner = dealer->next_owner[k];
        if (k == 0 || owner != dealer->next_owner[k - 1])
            run = 0;
        run += owner == DEALER_NOBODY ? 0 : slot_us[owner];
        longest = MAX(longest, run);
    }
    return longest;
}

void speeds_find(const struct dealer *dealer, const double *slot_us, double step_us, const uint32_t *numbers,
                 uint32_t count, double *ret_speed)
{
    double rest = MAX(step_us - longest_us(dealer, slot_us), 0) * count / dealer->slots, total = 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < count; i++) {
        double us = slot_us[numbers[i]];
        ret_speed[numbers[i]] = us > 0 ? 1 / (us + rest) : 0;
        total += ret_speed[numbers[i]];
        known += us > 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        double *speed = &ret_speed[numbers[i]];
        *speed = *speed > 0 ? *speed * known / total : 1;
    }
}
