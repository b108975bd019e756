/* Counters of a shard; see counters.h. */
#include "server/shard/counters.h"

#define NOTHING(...)
#define RESET(name, unit, meaning) atomic_store_explicit(&counters->name, 0, memory_order_relaxed);

void counters_reset(struct shard_counters *counters)
{
    SHARD_COUNTERS(NOTHING, RESET, NOTHING, NOTHING)
}
