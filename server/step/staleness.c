/* The histogram of staleness; see staleness.h. */
#include "server/step/staleness.h"

#include "common/base/util.h"

static uint32_t bucket_of(uint64_t between)
{
    uint32_t bucket = 0;
    for (; between > 0 && bucket < STALENESS_BUCKETS - 1; between >>= 1)
        bucket++;
    return bucket;
}

/* One writer: no read-modify-write is needed. */
static void add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

void staleness_add(struct staleness *s, uint64_t between, uint64_t gradients)
{
    add(&s->buckets[bucket_of(between)], gradients);
    add(&s->sum, between * gradients);
    if (between > atomic_load_explicit(&s->max, memory_order_relaxed))
        atomic_store_explicit(&s->max, between, memory_order_relaxed);
}

void staleness_read(const struct staleness *s, struct staleness_counts *counts)
{
    for (uint32_t i = 0; i < STALENESS_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        counts->buckets[i] += n;
        counts->commits += n;
    }
    counts->sum += atomic_load_explicit(&s->sum, memory_order_relaxed);
    counts->max = MAX(counts->max, atomic_load_explicit(&s->max, memory_order_relaxed));
}
