/* The memory of parsed headers: its bound, its growth, its freeing. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "proto/arena.h"
#include "tests/unit/support/leaks.h"

static void *take(ProtobufCAllocator *allocator, size_t bytes)
{
    uint8_t *p = allocator->alloc(allocator->allocator_data, bytes);
    if (p) {
        cr_assert_eq((uintptr_t)p % 16, 0);
        memset(p, 0xa5, bytes);
    }
    return p;
}

Test(arena, hands_out_its_bound_and_no_more)
{
    struct arena arena = {0};
    arena_reset(&arena, 100);
    ProtobufCAllocator allocator = arena_allocator(&arena);
    cr_assert_not_null(take(&allocator, 40));
    cr_assert_not_null(take(&allocator, 52), "40 count as 48");
    cr_assert(!arena.full);
    cr_assert_null(take(&allocator, 1));
    cr_assert(arena.full);
    arena_reset(&arena, 8);
    cr_assert(!arena.full, "a reset forgets it");
    cr_assert_null(take(&allocator, 9), "the bound is that of the last reset");
    cr_assert_null(take(&allocator, SIZE_MAX));
    arena_fini(&arena);
    ASSERT_NO_LEAKS();
}

Test(arena, what_one_parse_took_is_one_buffer_for_the_next)
{
    struct arena arena = {0};
    arena_reset(&arena, 1 << 20);
    ProtobufCAllocator allocator = arena_allocator(&arena);
    for (int i = 0; i < 100; i++)
        cr_assert_not_null(take(&allocator, 1000));
    cr_assert_not_null(arena.overflow);
    for (int round = 0; round < 3; round++) {
        arena_reset(&arena, 1 << 20);
        uint8_t *first = take(&allocator, 1000);
        for (int i = 1; i < 100; i++)
            cr_assert(take(&allocator, 1000) == first + (size_t)i * 1008);
        cr_assert_null(arena.overflow);
        allocator.free(allocator.allocator_data, first); /* nothing happens */
    }
    arena_fini(&arena);
    ASSERT_NO_LEAKS();
}
