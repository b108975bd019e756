/* Small things every floor needs. Thread: any. */
#ifndef DP_COMMON_BASE_UTIL_H
#define DP_COMMON_BASE_UTIL_H

#include <stdint.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* <sys/param.h>, which some libraries' headers include, has them as well. */
#undef MIN
#undef MAX
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* floor(k * n / parts) for k <= parts < 2^32, without overflow: where part k of n things starts when they are dealt out
 * evenly. */
static inline uint64_t part_bound(uint64_t n, uint64_t k, uint64_t parts)
{
    return n / parts * k + n % parts * k / parts;
}

#endif
