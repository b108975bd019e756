/* Work of the writer's thread for a checkpoint beside the shards' files: the folder, its name, and the end of old ones.
 * Thread: as stated. */
#ifndef DP_SERVER_RESULT_CHECKPOINT_TASK_H
#define DP_SERVER_RESULT_CHECKPOINT_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/dp_err.h"

struct checkpoint_task;
struct folder;
struct writer;

/* Each puts work in the writer's line. DP_NOMEM. Thread: head. */

/* An empty folder for the files. *ret_begun is written before the work that is put there afterwards begins. */
DP_MUST_CHECK dp_err checkpoint_task_begin(struct writer *writer, const struct folder *folder, uint64_t train_step,
                                           dp_error *ret_begun);
/* Removes it. */
DP_MUST_CHECK dp_err checkpoint_task_give_up(struct writer *writer, const struct folder *folder, uint64_t train_step);

struct checkpoint_finish {
    uint64_t train_step;
    char *manifest; /* text, heap, taken; DP_NOMEM leaves it to the caller */
    size_t bytes;
    uint64_t keep;    /* checkpoints that may stay */
    uv_async_t *done; /* woken once it has ended */
};
/* The checkpoint becomes whole, and older ones are removed. */
DP_MUST_CHECK dp_err checkpoint_task_finish(struct writer *writer, const struct folder *folder,
                                            const struct checkpoint_finish *finish, struct checkpoint_task **ret_task);
/* Whether it has ended, and how. Thread: head. */
bool checkpoint_task_ended(const struct checkpoint_task *task, dp_error *ret_err);
/* Frees one that has ended. Accepts NULL. Thread: head. */
void checkpoint_task_free(struct checkpoint_task **task);
/* Removes the oldest checkpoints beyond `keep`, but not that of `train_step`; a warning names one that cannot be
 * removed. Thread: any, while no task is under way. */
void checkpoint_keep_some(const struct folder *folder, uint64_t train_step, uint64_t keep);

#endif
