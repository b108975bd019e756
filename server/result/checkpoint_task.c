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
    struct checkpoint_finish finish;
    dp_error *begun;
    atomic_bool ended;
    dp_error err;
};

static void destroy(struct checkpoint_task *task)
{
    free(task->finish.manifest);
    free(task);
}

/* ---- thread: the writer's, or the head's before a job runs ---- */

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

/* Removes the oldest of list[count]. The one of `train_step`, just made, is of the latest generation, but may have
 * fewer steps than others of it whose server was killed: it stays. */
static void remove_oldest(const struct folder *folder, uint64_t train_step, uint64_t keep, struct kept *list,
                          size_t count)
{
    dp_error err;
    qsort(list, count, sizeof *list, compare_kept);
    for (size_t i = 0; i < count && count - i > keep; i++)
        if (list[i].train_step != train_step && folder_remove(folder, list[i].train_step, &err))
            log_warn("checkpoint-kept reason=\"%s\"", err.text);
}

void checkpoint_keep_some(const struct folder *folder, uint64_t train_step, uint64_t keep)
{
    uint64_t *steps = NULL;
    size_t count = 0, readable = 0;
    dp_error err;
    dp_err e = folder_list(folder, &steps, &count, &err);
    struct kept *list = e ? NULL : mem_array(count, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        list[readable].train_step = steps[i];
        readable += generation_of(folder, steps[i], &list[readable].generation);
    }
    if (list)
        remove_oldest(folder, train_step, keep, list, readable);
    else
        log_warn("checkpoints-kept reason=\"%s\"", e ? err.text : "out of memory");
    free(list);
    free(steps);
}

/* ---- thread: the writer's ---- */

static void begin(struct writer_task *of)
{
    struct checkpoint_task *task = (struct checkpoint_task *)(void *)of;
    task->begun->code = folder_begin(task->folder, task->finish.train_step, task->begun);
    destroy(task);
}

static void give_up(struct writer_task *of)
{
    struct checkpoint_task *task = (struct checkpoint_task *)(void *)of;
    folder_give_up(task->folder, task->finish.train_step);
    destroy(task);
}

static void finish(struct writer_task *of)
{
    struct checkpoint_task *task = (struct checkpoint_task *)(void *)of;
    const struct checkpoint_finish *f = &task->finish;
    uv_async_t *done = f->done;
    task->err.code = folder_commit(task->folder, f->train_step, f->manifest, f->bytes, &task->err);
    if (task->err.code == DP_OK)
        checkpoint_keep_some(task->folder, f->train_step, f->keep);
    atomic_store(&task->ended, true);
    uv_async_send(done);
}

/* ---- thread: head ---- */

static struct checkpoint_task *task_new(const struct folder *folder, void (*work)(struct writer_task *task),
                                        const struct checkpoint_finish *facts)
{
    struct checkpoint_task *task = mem_array_zero(1, sizeof *task);
    if (task) {
        task->task.work = work;
        task->folder = folder;
        task->finish = *facts;
    }
    return task;
}

dp_err checkpoint_task_begin(struct writer *writer, const struct folder *folder, uint64_t train_step,
                             dp_error *ret_begun)
{
    struct checkpoint_task *task = task_new(folder, begin, &(struct checkpoint_finish){.train_step = train_step});
    if (!task)
        return DP_NOMEM;
    task->begun = ret_begun;
    writer_do(writer, &task->task);
    return DP_OK;
}

dp_err checkpoint_task_give_up(struct writer *writer, const struct folder *folder, uint64_t train_step)
{
    struct checkpoint_task *task = task_new(folder, give_up, &(struct checkpoint_finish){.train_step = train_step});
    if (!task)
        return DP_NOMEM;
    writer_do(writer, &task->task);
    return DP_OK;
}

dp_err checkpoint_task_finish(struct writer *writer, const struct folder *folder, const struct checkpoint_finish *facts,
                              struct checkpoint_task **ret_task)
{
    struct checkpoint_task *task = task_new(folder, finish, facts);
    if (!task)
        return DP_NOMEM;
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
