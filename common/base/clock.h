/* The monotonic clock. Thread: any. */
#ifndef DP_COMMON_BASE_CLOCK_H
#define DP_COMMON_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic clock. */
uint64_t mono_ns(void);
uint64_t mono_ms(void);

#endif
