/* Descriptors and threads that the process can still have. Thread: any. */
#ifndef DP_COMMON_BASE_PROCESS_H
#define DP_COMMON_BASE_PROCESS_H

#include <stdint.h>

#include "common/base/dp_err.h"

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

#endif
