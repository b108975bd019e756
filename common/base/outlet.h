/* A descriptor that is written to without waiting for its reader: lines go into a bounded queue, which a thread of the
 * outlet writes out, one write(2) a line. When the queue is full the oldest lines are left out and counted, and a line
 * says how many once there is room. The descriptor's flags stay as they are, since other processes share them.
 * Thread: any, but for outlet_new and outlet_end. */
#ifndef DP_COMMON_BASE_OUTLET_H
#define DP_COMMON_BASE_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct outlet;

struct outlet_options {
    int fd;            /* borrowed */
    size_t room_bytes; /* of the queue */
    /* The line, with its newline, that says that `lines` were left out. */
    void (*note)(char *buf, size_t size, uint64_t lines);
};

/* The end of an outlet. */
struct outlet_result {
    uint64_t unwritten; /* lines that were left out without a word, or could not be written */
    uint64_t left_out;  /* lines that were left out, and the outlet has said so */
    int error;          /* errno of the last write that failed; 0: none did */
};

/* Starts the thread, with all signals blocked. DP_NOMEM, DP_SYSTEM. */
DP_MUST_CHECK dp_err outlet_new(const struct outlet_options *opts, struct outlet **ret_outlet, dp_error *err);

/* Queues one piece as a whole: a line with its newline, or a drawing, which begins with \r and has no newline. A
 * drawing takes the place of one that still waits just before it, and is never counted as left out. */
void outlet_put(struct outlet *outlet, const void *bytes, size_t n);

/* Whether all that was put has been written, or is lost. */
bool outlet_drained(const struct outlet *outlet);

/* Ends the outlet: gives its reader a bounded time for what is queued, 1.5 s without reading, 5 s for one that was slow
 * before, 10 s in all, in which the newest line goes first. A thread that is stuck in write(2) is left behind, and with
 * it the outlet's memory: the process is about to end. Frees *outlet, which may be NULL. `since_ms`: mono_ms() when the
 * process began to end. */
struct outlet_result outlet_end(struct outlet **outlet, uint64_t since_ms);

#endif
