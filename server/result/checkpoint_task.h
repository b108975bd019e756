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

enum checkpoint_work { CHECKPOINT_BEGIN, CHECKPOINT_GIVE_UP, CHECKPOINT_FINISH };

/* Puts it in the writer's line. `manifest`: the text for FINISH, heap, taken. `keep`: checkpoints that may stay. `done`
 * is woken once it has ended; NULL: nobody waits, and it frees itself. DP_NOMEM leaves the manifest to the caller.
 * Thread: head. */
DP_MUST_CHECK dp_err checkpoint_task_new(struct writer *writer, const struct folder *folder, enum checkpoint_work work,
                                         uint64_t train_step, char *manifest, size_t bytes, uint64_t keep,
                                         uv_async_t *done, struct checkpoint_task **ret_task);
/* Whether it has ended, and how. Thread: head. */
bool checkpoint_task_ended(const struct checkpoint_task *task, dp_error *ret_err);
/* Frees one that has ended. Accepts NULL. Thread: head. */
void checkpoint_task_free(struct checkpoint_task **task);

#endif
