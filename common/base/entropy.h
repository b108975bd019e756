/* Random bits from the kernel. Thread: any. */
#ifndef DP_COMMON_BASE_ENTROPY_H
#define DP_COMMON_BASE_ENTROPY_H

#include <stdint.h>

/* Random 64 bits from the kernel, never 0: session tokens, incarnations. Not for anything a result depends on. */
uint64_t entropy_u64(void);

#endif
