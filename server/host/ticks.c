/* Ticks of a loop; see ticks.h. Thread: the loop's. */
#include "server/host/ticks.h"

void ticks_start(struct ticks *ticks, uint64_t now_ms)
{
    ticks->last_ms = now_ms;
}

uint64_t ticks_slept_ms(struct ticks *ticks, uint64_t now_ms)
{
    uint64_t gap_ms = now_ms - ticks->last_ms;
    ticks->last_ms = now_ms;
    return gap_ms < TICKS_SLEPT_MS ? 0 : gap_ms;
}
