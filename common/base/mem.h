/* Heap memory, aligned to a cache line, and bytes that somebody else owns. Thread: any. */
#ifndef DP_COMMON_BASE_MEM_H
#define DP_COMMON_BASE_MEM_H

#include <stddef.h>

enum { CACHE_LINE_BYTES = 64 };

/* Heap memory, aligned to a cache line and NOT zeroed; NULL when out of memory or when count * size overflows.
 * Freed with free(). A zero count gives a valid pointer. */
void *mem_array(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2)));
/* The same, zeroed. */
void *mem_array_zero(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2)));

/* Zeroed pages of their own, huge ones where the kernel has them and `bytes` is enough: large arrays that live long
 * come some times faster, since there is less to find and to translate. NULL when out of memory. Freed with
 * mem_pages_free, which accepts NULL. */
void *mem_pages_new(size_t bytes);
void mem_pages_free(void *pages, size_t bytes);

/* Makes malloc keep what is freed and serve all threads from one heap: libzmq takes a fresh buffer for each large
 * message, and giving its pages back to the kernel only to fault them in again costs more than the message. For
 * programs, at their start; a library leaves its process's malloc alone. Thread: main, before others start. */
void mem_keep(void);

/* Frees *p and sets it to NULL; for __attribute__((cleanup(mem_freep))) on `T *x`. */
void mem_freep(void *p);
#define AUTOFREE __attribute__((cleanup(mem_freep)))

/* A received or borrowed run of bytes that somebody else owns until release(owner) is called. */
struct blob {
    void *data; /* aligned to at least 4 bytes when it holds floats */
    size_t bytes;
    void *owner; /* NULL: nothing to release */
    void (*release)(void *owner);
};

/* Gives the bytes back to their owner and clears *b. A cleared or empty blob is fine. */
void blob_release(struct blob *b);

#endif
