/* Heap memory, aligned to a cache line, and bytes that somebody else owns. Thread: any. */
#include "common/base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's upper bound of the threshold, and how much free memory stays. */
enum { MMAP_THRESHOLD_MAX = 32 << 20, KEEP_BYTES = 1 << 30, HUGE_BYTES = 2 << 20 };

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

/* The pages that `bytes` take: huge ones where an eighth more is enough. */
static size_t whole_pages(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t small = (bytes + page - 1) / page * page, huge = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    return huge - bytes <= bytes / 8 ? huge : small;
}

/* Unmaps what is before the first huge page, and behind the last byte. */
static void *trim(char *mapped, size_t mapped_bytes, size_t bytes)
{
    const size_t before = (HUGE_BYTES - (uintptr_t)mapped % HUGE_BYTES) % HUGE_BYTES;
    const size_t behind = mapped_bytes - before - bytes;
    if (before > 0)
        (void)munmap(mapped, before);
    if (behind > 0)
        (void)munmap(mapped + before + bytes, behind);
    (void)madvise(mapped + before, bytes, MADV_HUGEPAGE); /* else small ones serve */
    return mapped + before;
}

void *mem_pages_new(size_t bytes)
{
    if (bytes == 0 || bytes > (size_t)PTRDIFF_MAX - 2 * (size_t)HUGE_BYTES)
        return NULL;
    const size_t whole = whole_pages(bytes), more = whole >= HUGE_BYTES ? HUGE_BYTES : 0;
    char *mapped = mmap(NULL, whole + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    return more ? trim(mapped, whole + more, whole) : mapped;
}

void mem_pages_free(void *pages, size_t bytes)
{
    if (pages)
        (void)munmap(pages, whole_pages(bytes));
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
