/* Memory of a parsed header; see arena.h. Invariant: used is at most bytes_max. */
#include "proto/arena.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/util.h"

enum { ARENA_ALIGN = 16 };

/* A block beyond the base buffer; the memory follows. */
struct arena_block {
    _Alignas(ARENA_ALIGN) struct arena_block *next;
};

static void arena_free_overflow(struct arena *arena)
{
    struct arena_block *block = arena->overflow;
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->overflow = NULL;
}

void arena_fini(struct arena *arena)
{
    arena_free_overflow(arena);
    free(arena->base);
    *arena = (struct arena){0};
}

void arena_reset(struct arena *arena, size_t bytes_max)
{
    arena_free_overflow(arena);
    if (arena->wanted > arena->size) {
        free(arena->base);
        arena->base = mem_array(arena->wanted, 1);
        arena->size = arena->base ? arena->wanted : 0;
    }
    arena->used = 0;
    arena->bytes_max = bytes_max;
    arena->full = false;
}

static void *arena_overflow(struct arena *arena, size_t bytes)
{
    struct arena_block *block = mem_array(sizeof *block + bytes, 1);
    if (!block)
        return NULL;
    block->next = arena->overflow;
    arena->overflow = block;
    return block + 1;
}

static void *arena_alloc(void *arg, size_t bytes)
{
    struct arena *arena = arg;
    if (bytes > arena->bytes_max - arena->used) {
        arena->full = true;
        return NULL;
    }
    size_t rounded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    size_t at = arena->used;
    arena->used = MIN(at + rounded, arena->bytes_max);
    arena->wanted = MAX(arena->wanted, arena->used);
    assert(arena->used <= arena->bytes_max);
    return at + rounded <= arena->size ? arena->base + at : arena_overflow(arena, rounded);
}

static void arena_release(void *arg, void *p)
{
    (void)arg;
    (void)p;
}

ProtobufCAllocator arena_allocator(struct arena *arena)
{
    return (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_release, .allocator_data = arena};
}
