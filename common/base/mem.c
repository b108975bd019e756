/* Heap memory, aligned to a cache line, and bytes that somebody else owns. Thread: any. */
#include "common/base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* glibc's upper bound of the threshold, and how much free memory stays. */
enum { MMAP_THRESHOLD_MAX = 32 << 20, KEEP_BYTES = 1 << 30 };

void *mem_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > (size_t)PTRDIFF_MAX - CACHE_LINE_BYTES)
        return NULL;
    size_t rounded = (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    return aligned_alloc(CACHE_LINE_BYTES, rounded ? rounded : CACHE_LINE_BYTES);
}

void *mem_array_zero(size_t count, size_t size)
{
    void *p = mem_array(count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

void mem_keep(void)
{
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_MAX);
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    mallopt(M_ARENA_MAX, 1);
}

void mem_freep(void *p)
{
    void **pp = p;
    free(*pp);
    *pp = NULL;
}

void blob_release(struct blob *b)
{
    if (b->owner && b->release)
        b->release(b->owner);
    *b = (struct blob){0};
}
