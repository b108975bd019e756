/* A thread that does what may wait for a disk, one task after the other, so that no step waits for one. Thread: any. */
#ifndef DP_SERVER_STORE_WRITER_H
#define DP_SERVER_STORE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct writer;

/* A task, in the caller's struct and memory. It is the writer's until `work`, which may free it, returns. */
struct writer_task {
    void (*work)(struct writer_task *task); /* on the writer's thread; tells the caller by itself that it is done */
    struct writer_task *next;
};

/* Starts the thread. DP_SYSTEM, DP_NOMEM. */
DP_MUST_CHECK dp_err writer_start(struct writer **ret_writer, dp_error *err);
/* Puts the task at the end of the line. */
void writer_do(struct writer *writer, struct writer_task *task);
/* Waits until nothing is in the line and nothing is being done. False: not within `patience_ms`. Accepts NULL. */
DP_MUST_CHECK bool writer_idle(struct writer *writer, uint64_t patience_ms);
/* Does all tasks that are in the line, and ends the thread. Nothing is put there any more. Accepts NULL. */
void writer_stop(struct writer **writer);

#endif
