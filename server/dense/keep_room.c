/* Room for copies; see keep_room.h. Thread: as stated. */
#include "server/dense/keep_room.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/util.h"

enum { SOME_BYTES = 32 << 20 /* found at a time */, LINE_FLOATS = CACHE_LINE_BYTES / sizeof(float) };

struct keep_room {
    _Atomic uint32_t refs;
    uint32_t arrays; /* of a slice */
    float *floats;   /* pages */
    size_t bytes;
    uint64_t stride; /* floats from one array to the next */
    uint64_t next;   /* of an array, that is nobody's yet */
    uint32_t cell_count, cells_used;
    struct keep_cell cells[];
};

/* Cells begin at cache lines. */
static uint64_t whole_lines(uint64_t floats)
{
    return (floats + LINE_FLOATS - 1) / LINE_FLOATS * LINE_FLOATS;
}

struct keep_room *keep_room_new(uint32_t slices, uint64_t floats, uint32_t arrays)
{
    const size_t cells = (size_t)slices * arrays;
    struct keep_room *room = mem_array_zero(1, sizeof *room + cells * sizeof room->cells[0]);
    if (!room)
        return NULL;
    room->refs = 1;
    room->arrays = arrays;
    room->cell_count = (uint32_t)cells;
    room->stride = whole_lines(floats) + (uint64_t)slices * LINE_FLOATS;
    room->bytes = room->stride * arrays * sizeof(float);
    room->floats = mem_pages_new(room->bytes);
    if (!room->floats) {
        free(room);
        return NULL;
    }
    return room;
}

void keep_room_retain(struct keep_room *room)
{
    atomic_fetch_add_explicit(&room->refs, 1, memory_order_relaxed);
}

void keep_room_release(struct keep_room *room)
{
    if (!room || atomic_fetch_sub_explicit(&room->refs, 1, memory_order_acq_rel) > 1)
        return;
    mem_pages_free(room->floats, room->bytes);
    free(room);
}

struct keep_cell *keep_room_cells(struct keep_room *room, uint64_t count)
{
    struct keep_cell *cells = &room->cells[room->cells_used];
    room->cells_used += room->arrays;
    assert(room->cells_used <= room->cell_count);
    for (uint32_t i = 0; i < room->arrays; i++) {
        cells[i].room = room;
        cells[i].floats = room->floats + i * room->stride + room->next;
    }
    room->next += whole_lines(count);
    assert(room->next <= room->stride);
    return cells;
}

/* Nobody but the shard and who finds pages has the room: no cut waits for the thread. */
static bool is_quiet(const struct keep_room *room)
{
    return atomic_load_explicit(&room->refs, memory_order_relaxed) == 2;
}

void keep_room_fault_in(struct keep_room *room, uint32_t arrays)
{
#ifdef MADV_POPULATE_WRITE
    const size_t bytes = room->stride * MIN(arrays, room->arrays) * sizeof(float);
    char *pages = (char *)room->floats;
    for (size_t at = 0; at < bytes && is_quiet(room); at += SOME_BYTES)
        (void)madvise(pages + at, MIN(bytes - at, (size_t)SOME_BYTES), MADV_POPULATE_WRITE); /* else copies find them */
#else
    (void)arrays;
    (void)is_quiet(room);
#endif
}

void keep_room_rest(struct keep_room *room)
{
    if (atomic_load_explicit(&room->refs, memory_order_acquire) == 1)
        (void)madvise(room->floats, room->bytes, MADV_FREE);
}

static void give_back(void *owner)
{
    struct keep_cell *cell = owner;
    struct keep_room *room = cell->room;
    atomic_store_explicit(&cell->taken, false, memory_order_release);
    keep_room_release(room);
}

struct blob keep_cell_take(struct keep_cell *cell, uint64_t count)
{
    if (atomic_load_explicit(&cell->taken, memory_order_acquire))
        return (struct blob){0};
    atomic_store_explicit(&cell->taken, true, memory_order_relaxed);
    keep_room_retain(cell->room);
    return (struct blob){cell->floats, count * sizeof(float), cell, give_back};
}
