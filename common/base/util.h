/* Small things every floor needs: aligned memory, time, sizes. Thread: any. */
#ifndef DP_COMMON_BASE_UTIL_H
#define DP_COMMON_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* <sys/param.h>, which some libraries' headers include, has them as well. */
#undef MIN
#undef MAX
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

enum { CACHE_LINE_BYTES = 64 };

/* Heap memory, aligned to a cache line and NOT zeroed; NULL when out of memory or when count * size overflows.
 * Freed with free(). A zero count gives a valid pointer. */
void *mem_array(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2)));
/* The same, zeroed. */
void *mem_array_zero(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2)));

/* Makes malloc keep what is freed and serve all threads from one heap: libzmq takes a fresh buffer for each large
 * message, and giving its pages back to the kernel only to fault them in again costs more than the message. For
 * programs, at their start; a library leaves its process's malloc alone. Thread: main, before others start. */
void mem_keep(void);

/* Frees *p and sets it to NULL; for __attribute__((cleanup(mem_freep))) on `T *x`. */
void mem_freep(void *p);
#define AUTOFREE __attribute__((cleanup(mem_freep)))

/* floor(k * n / parts) for k <= parts < 2^32, without overflow: where part k of n things starts when they are dealt out
 * evenly. */
static inline uint64_t part_bound(uint64_t n, uint64_t k, uint64_t parts)
{
    return n / parts * k + n % parts * k / parts;
}

/* Monotonic clock. */
uint64_t mono_ns(void);
uint64_t mono_ms(void);

/* Random 64 bits from the kernel, never 0: session tokens, incarnations. Not for anything a result depends on. */
uint64_t entropy_u64(void);

/* Takes the descriptors 0 to 2 where whoever started us has closed them, so that no socket or file of ours gets a
 * number that is printed to. Reading and writing there still fail. First thing in main. */
void stdio_reserve(void);

/* Raises the limit of open files as far as it goes; DP_SYSTEM if that is less than `needed`: libzmq aborts where it
 * finds none left. */
DP_MUST_CHECK dp_err descriptors_ensure(uint64_t needed, dp_error *err);
/* The limit of open files. */
uint64_t descriptors_limit(void);
/* Descriptors that could still be opened now, counted up to `most`; takes none to find out. */
uint64_t descriptors_left(uint64_t most);
/* Whether `needed` more can be opened; DP_SYSTEM if not, because libzmq aborts when it finds none left. */
DP_MUST_CHECK dp_err descriptors_check(uint64_t needed, dp_error *err);
/* Open descriptors, as far as they are the lowest numbers: those of a program at its start. */
uint64_t descriptors_taken(void);

/* Whether `needed` threads can be started beside those that run, found out by starting them; DP_SYSTEM if not, because
 * libzmq aborts then. THREADS_ZMQ: those of a ZeroMQ context, which it starts with its first socket. THREADS_POOL:
 * those of libuv's pool, as export_pool_start makes it. */
enum { THREADS_ZMQ = 2, THREADS_POOL = 2 };
DP_MUST_CHECK dp_err threads_ensure(uint32_t needed, dp_error *err);

/* A received or borrowed run of bytes that somebody else owns until release(owner) is called. */
struct blob {
    void *data; /* aligned to at least 4 bytes when it holds floats */
    size_t bytes;
    void *owner; /* NULL: nothing to release */
    void (*release)(void *owner);
};

/* Gives the bytes back to their owner and clears *b. A cleared or empty blob is fine. */
void blob_release(struct blob *b);

/* strtod for a number that is to become a float. Hexadecimal, "nan", "inf" and leading spaces, which no user means, are
 * no numbers. *ret_vanishes: it is not 0, but would be as a float. */
double float_parse(const char *text, char **ret_end, bool *ret_vanishes);
/* Whether a number that is not 0 becomes 0 as a float. */
bool float_vanishes(double x);
/* Whether none of x[n] is infinite or NaN. */
bool floats_finite(size_t n, const float *x);
/* snprintf that appends at *at and never runs past `size`; returns false once the text was cut. */
bool str_append(char *buf, size_t size, size_t *at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Copies src into dst[size], cutting if needed; returns false when it was cut. */
bool str_copy(char *dst, size_t size, const char *src);

/* Replaces `path` as a whole: writes through `write(arg, fd)` into a temporary file in the same folder (without a
 * name until it is whole, where the file system knows such, so that nothing is left of a process that is killed),
 * fsyncs it, renames it over path and fsyncs the folder. On failure nothing at `path` has changed. A file that was
 * there passes its mode on, and of a symbolic link the file it leads to is replaced. DP_IO with the reason; a folder, a
 * device or a pipe is not replaced. */
DP_MUST_CHECK dp_err file_replace(const char *path, dp_err (*write)(void *arg, int fd, dp_error *err), void *arg,
                                  dp_error *err);
/* The same through a descriptor of file_hold, *held, or one opened now where *held is -1. Once the file is in place, or
 * it cannot be given a name there, the descriptor is closed and *held is -1; where the writing failed it is held on,
 * and emptied, for another try. */
DP_MUST_CHECK dp_err file_replace_held(int *held, const char *path, dp_err (*write)(void *arg, int fd, dp_error *err),
                                       void *arg, dp_error *err);
/* A file without a name in the folder of `path`, so that used-up descriptors do not matter later on. Nothing is left of
 * it when the process ends. -1 where the file system has none such. */
int file_hold(const char *path);
/* Free bytes that this user may fill in the folder of `path`; UINT64_MAX where nothing is known. */
uint64_t file_room_bytes(const char *path);
/* Whether two paths lead to one file that is there, or are the same. */
bool file_same(const char *a, const char *b);
/* Whether file_replace could work, found out by making and removing its temporary file; DP_IO with the reason. */
DP_MUST_CHECK dp_err file_replace_check(const char *path, dp_error *err);
/* write(2) until all of it is written. */
DP_MUST_CHECK dp_err file_write_all(int fd, const void *data, size_t bytes, dp_error *err);

#endif
