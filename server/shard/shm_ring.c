/* A session's ring; see shm_ring.h. Thread: shard. */
#include "server/shard/shm_ring.h"

#include <assert.h>

#include "common/base/util.h"
#include "common/net/shm_wire.h"

enum {
    LINE = 64, /* bytes of a cache line */
    LEAST_BYTES = 1 << 16,
    MOST_BYTES = 1 << 27, /* four of the largest answers */
    ANSWERS = 4, /* that a new ring has room for: those of a step, of the next, and what is skipped at its end */
};

float *shm_ring_take(struct shm_ring *ring, uint64_t bytes, uint64_t *ret_at)
{
    uint64_t room = ring->memory.bytes, at = (ring->head + LINE - 1) / LINE * LINE;
    if (room == 0 || bytes > room)
        return NULL;
    if (at % room + bytes > room)
        at += room - at % room;
    if (ring->tail == ring->head)
        ring->tail = at;
    if (at + bytes - ring->tail > room)
        return NULL;
    ring->head = at + bytes;
    assert(ring->tail <= at && ring->head - ring->tail <= room);
    *ret_at = at;
    return (float *)ring->memory.base + at % room / sizeof(float);
}

void shm_ring_taken(struct shm_ring *ring, uint64_t taken)
{
    ring->tail = MAX(ring->tail, MIN(taken, ring->head));
}

dp_err shm_ring_next(const struct shm_ring *ring, uint64_t bytes, struct shm_ring *ret_next, dp_error *err)
{
    uint64_t room = MAX(MAX(2 * (uint64_t)ring->memory.bytes, ANSWERS * bytes), (uint64_t)LEAST_BYTES);
    if (room > MOST_BYTES || ring->number >= SHM_RINGS_MAX)
        return dp_fail(err, DP_RANGE, "%ju bytes of rows are not taken by the worker",
                       (uintmax_t)(ring->head - ring->tail));
    struct shm_ring next = {.number = ring->number + 1};
    dp_err e = shm_new((size_t)room, SHM_READERS, &next.memory, err);
    if (e)
        return e;
    next.head = next.tail = (ring->head + next.memory.bytes - 1) / next.memory.bytes * next.memory.bytes;
    *ret_next = next;
    return DP_OK;
}

void shm_ring_fini(struct shm_ring *ring)
{
    shm_fini(&ring->memory);
    *ring = (struct shm_ring){0};
}
