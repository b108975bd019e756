/* Room for versions in shared memory; see planes.h. Thread: shard. */
#include "server/dense/planes.h"

#include "common/base/util.h"
#include "common/net/shm_wire.h"

enum {
    PLANES_BYTES = 32 << 20, /* memory of small jobs to run ahead of the head */
    PLANES_MIN = 4,          /* one that is read, one that is current, one in the making, and one to spare, */
    PLANES_LEAST = 3,        /* but for a theta of at least */
    LARGE_BYTES = 512 << 20, /* this size */
};

static uint32_t planes_count(uint64_t total)
{
    uint64_t bytes = total * sizeof(float), fit = PLANES_BYTES / bytes;
    uint64_t least = bytes > LARGE_BYTES ? PLANES_LEAST : PLANES_MIN;
    return (uint32_t)MIN(MAX(fit, least), (uint64_t)SHM_PLANES_MAX);
}

dp_err planes_init(struct planes *planes, uint64_t total, struct range range, dp_error *err)
{
    uint64_t page = shm_page() / sizeof(float), first = range.first / page * page;
    uint64_t stride = shm_whole_pages((size_t)(range.first - first + range.count) * sizeof(float));
    uint32_t count = planes_count(total);
    struct shm memory;
    dp_err e = shm_new((size_t)stride * count, SHM_READERS, &memory, err);
    if (e == DP_OK)
        *planes = (struct planes){memory, count, stride, first, 0};
    return e;
}

void planes_fini(struct planes *planes)
{
    shm_fini(&planes->memory);
    *planes = (struct planes){0};
}

float *planes_at(const struct planes *planes, uint32_t plane, uint64_t elem)
{
    float *base = (float *)planes->memory.base + plane * (planes->stride_bytes / sizeof(float));
    return base + (elem - planes->first);
}
