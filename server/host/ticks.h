/* Whether the loop ran all the time: by how far apart its ticks are, the first of them and the start included. A
 * process may be frozen, and its machine may sleep, before the first tick as well. Thread: the loop's. */
#ifndef DP_SERVER_HOST_TICKS_H
#define DP_SERVER_HOST_TICKS_H

#include <stdint.h>

enum { TICKS_SLEPT_MS = 2000 }; /* ticks so far apart: the loop was not busy, but not running */

struct ticks {
    uint64_t last_ms; /* when the last one was; before the first, when their timer was started */
};

/* Their timer has been started. */
void ticks_start(struct ticks *ticks, uint64_t now_ms);
/* A tick: how long the loop did not run before it, 0 where it did. */
uint64_t ticks_slept_ms(struct ticks *ticks, uint64_t now_ms);

#endif
