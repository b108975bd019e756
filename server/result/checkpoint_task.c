/* Work of the writer's thread for a checkpoint; see checkpoint_task.h. Thread: as stated. */
#include "server/result/checkpoint_task.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "server/store/folder.h"
#include "common/checkpoint/manifest.h"
#include "server/store/writer.h"

struct checkpoint_task {
    struct writer_task task; /* first */
    const struct folder *folder;
    enum checkpoint_work work;
    uint64_t train_step, keep;
    char *manifest;
    size_t bytes;
    uv_async_t *done;
    atomic_bool ended;
    dp_error err;
};

static void destroy(struct checkpoint_task *task)
{
    free(task->manifest);
    free(task);
}

/* ---- thread: the writer's ---- */

/* A checkpoint whose manifest cannot be read is none to count, nor to remove: somebody may want to look at it. */
static bool generation_of(const struct folder *folder, uint64_t train_step, uint64_t *ret_generation)
{
    char path[PATH_MAX];
    struct manifest manifest;
    dp_error err;
    if (!folder_path(folder, train_step, "manifest.json", path) || manifest_read(path, &manifest, &err))
        return false;
    *ret_generation = manifest.generation;
    manifest_fini(&manifest);
    return true;
}

struct kept {
    uint64_t train_step, generation;
};

/* The latest come last: those of a later generation, or else of more steps. */
static int compare_kept(const void *left, const void *right)
{
    const struct kept *a = left, *b = right;
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    return a->train_step < b->train_step ? -1 : a->train_step > b->train_step;
}

/* Removes the oldest of list[count]. The one just made is of the latest generation, but may have fewer steps than
 * others of it whose server was killed: it stays. */
static void remove_oldest(const struct checkpoint_task *task, struct kept *list, size_t count)
{
    dp_error err;
    qsort(list, count, sizeof *list, compare_kept);
    for (size_t i = 0; i < count && count - i > task->keep; i++)
        if (list[i].train_step != task->train_step && folder_remove(task->folder, list[i].train_step, &err))
            log_warn("checkpoint-kept reason=\"%s\"", err.text);
}

static void keep_some(const struct checkpoint_task *task)
{
    uint64_t *steps = NULL;
    size_t count = 0, readable = 0;
    dp_error err;
    dp_err e = folder_list(task->folder, &steps, &count, &err);
    struct kept *list = e ? NULL : mem_array(count, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        list[readable].train_step = steps[i];
        readable += generation_of(task->folder, steps[i], &list[readable].generation);
    }
    if (list)
        remove_oldest(task, list, readable);
    else
        log_warn("checkpoints-kept reason=\"%s\"", e ? err.text : "out of memory");
    free(list);
    free(steps);
}

static void work(struct writer_task *of)
{
    struct checkpoint_task *task = (struct checkpoint_task *)(void *)of;
    uv_async_t *done = task->done;
    switch (task->work) {
    case CHECKPOINT_BEGIN:
        (void)!folder_begin(task->folder, task->train_step, &task->err);
        break;
    case CHECKPOINT_GIVE_UP:
        folder_give_up(task->folder, task->train_step);
        break;
    case CHECKPOINT_FINISH:
        task->err.code = folder_commit(task->folder, task->train_step, task->manifest, task->bytes, &task->err);
        if (task->err.code == DP_OK)
            keep_some(task);
        break;
    }
    if (!done) {
        destroy(task);
        return;
    }
    atomic_store(&task->ended, true);
    uv_async_send(done);
}

/* ---- thread: head ---- */

dp_err checkpoint_task_new(struct writer *writer, const struct folder *folder, enum checkpoint_work to_do,
                           uint64_t train_step, char *manifest, size_t bytes, uint64_t keep, uv_async_t *done,
                           struct checkpoint_task **ret_task)
{
    struct checkpoint_task *task = mem_array_zero(1, sizeof *task);
    if (!task)
        return DP_NOMEM;
    task->task.work = work;
    task->folder = folder;
    task->work = to_do;
    task->train_step = train_step;
    task->keep = keep;
    task->manifest = manifest;
    task->bytes = bytes;
    task->done = done;
    if (done)
        *ret_task = task;
    writer_do(writer, &task->task);
    return DP_OK;
}

bool checkpoint_task_ended(const struct checkpoint_task *task, dp_error *ret_err)
{
    if (!atomic_load(&task->ended))
        return false;
    *ret_err = task->err;
    return true;
}

void checkpoint_task_free(struct checkpoint_task **task)
{
    if (*task)
        destroy(*task);
    *task = NULL;
}
