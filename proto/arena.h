/* Memory of a parsed header, with a bound: a parse takes no more whatever its bytes say. Reset before each parse, so
 * steady state allocates nothing. Thread: any; an arena belongs to one thread. */
#ifndef DP_PROTO_ARENA_H
#define DP_PROTO_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/* Zeroed, it has no memory; the first reset makes it ready for use. */
struct arena {
    uint8_t *base;
    size_t size;
    size_t used;
    size_t bytes_max; /* most that is handed out between two resets */
    size_t wanted;    /* high-water mark, size of the next buffer */
    void *overflow;   /* list of blocks beyond base, until the next reset */
    bool full;        /* more than bytes_max was asked for */
};

/* Forgets what was handed out, and hands out at most bytes_max from now on. The base grows to what the largest message
 * so far took, so that it is one buffer next time. */
void arena_reset(struct arena *arena, size_t bytes_max);
/* Hands out the memory of `arena`, for protobuf; freeing does nothing. NULL: arena->full, or out of memory. */
ProtobufCAllocator arena_allocator(struct arena *arena);
void arena_fini(struct arena *arena);

#endif
