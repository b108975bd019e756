/* Rings of a shard; see rings.h. Invariant: the numbers in the list descend. Thread: the client's. */
#include "worker/client/state/rings.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/util.h"

struct ring {
    struct ring *next;
    uint32_t number;
    uint64_t bytes; /* as the shard counts them; whole pages are mapped */
    struct shm memory;
};

dp_err rings_add(struct rings *rings, uint32_t number, int fd, uint64_t bytes, dp_error *err)
{
    if (rings_have(rings, number))
        return dp_fail(err, DP_PROTO, "a shard passes ring %u for rows once more", number);
    struct ring *ring = mem_array_zero(1, sizeof *ring);
    if (!ring)
        return dp_fail(err, DP_NOMEM, "no memory for a ring of rows");
    dp_err e = shm_map(fd, (size_t)bytes, &ring->memory, err);
    if (e) {
        free(ring);
        return e;
    }
    assert(!rings->list || rings->list->number < number);
    ring->number = number;
    ring->bytes = bytes;
    ring->next = rings->list;
    rings->list = ring;
    return DP_OK;
}

bool rings_have(const struct rings *rings, uint32_t number)
{
    return rings->list && rings->list->number >= number;
}

/* Frees the rings that no answer will name any more. */
static void rings_drop_before(struct rings *rings, uint32_t number)
{
    struct ring **at = &rings->list;
    while (*at && (*at)->number >= number)
        at = &(*at)->next;
    while (*at) {
        struct ring *ring = *at;
        *at = ring->next;
        shm_fini(&ring->memory);
        free(ring);
    }
}

dp_err rings_at(struct rings *rings, uint32_t number, uint64_t at, uint64_t bytes, const void **ret_values,
                dp_error *err)
{
    const struct ring *ring = rings->list;
    *ret_values = NULL;
    if (number < rings->used || at < rings->taken)
        return DP_OK;
    while (ring && ring->number != number)
        ring = ring->next;
    if (!ring)
        return dp_fail(err, DP_PROTO, "rows in ring %u, which was not passed", number);
    if (bytes > ring->bytes || at % ring->bytes > ring->bytes - bytes || at > UINT64_MAX - bytes)
        return dp_fail(err, DP_PROTO, "rows at byte %llu of a ring of %llu", (unsigned long long)(at % ring->bytes),
                       (unsigned long long)ring->bytes);
    rings_drop_before(rings, number);
    rings->used = number;
    *ret_values = (const char *)ring->memory.base + at % ring->bytes;
    return DP_OK;
}

void rings_take(struct rings *rings, uint64_t end)
{
    rings->taken = MAX(rings->taken, end);
}

void rings_fini(struct rings *rings)
{
    rings_drop_before(rings, UINT32_MAX);
    *rings = (struct rings){0};
}
