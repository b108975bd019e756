/* Work of the writer's thread: a checkpoint is committed, and the oldest ones beyond --keep-checkpoints are removed. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "server/result/checkpoint_task.h"
#include "server/store/folder.h"
#include "common/checkpoint/manifest.h"
#include "server/store/writer.h"
#include "tests/unit/support/leaks.h"

static char dir[] = "/tmp/dp-task-XXXXXX";
static struct folder folder;
static struct writer *writer;
static uv_loop_t loop;
static uv_async_t done;
static struct checkpoint_task *task;
static dp_error outcome;

static void on_done(uv_async_t *async)
{
    if (checkpoint_task_ended(task, &outcome))
        uv_close((uv_handle_t *)async, NULL);
}

static void begin(void)
{
    dp_error err;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(folder_open(dir, "lock", "test", &folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(writer_start(&writer, &err), DP_OK, "%s", err.text);
    uv_loop_init(&loop);
}

static void end(void)
{
    char path[64];
    uint64_t *steps;
    size_t count;
    dp_error err;
    writer_stop(&writer);
    uv_loop_close(&loop);
    cr_assert_eq(folder_list(&folder, &steps, &count, &err), DP_OK);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(folder_remove(&folder, steps[i], &err), DP_OK, "%s", err.text);
    free(steps);
    folder_close(&folder);
    snprintf(path, sizeof path, "%s/lock", dir);
    (void)!unlink(path);
    cr_assert_eq(rmdir(dir), 0);
}

static char *manifest_text(uint64_t generation, uint64_t train_step, size_t *ret_bytes)
{
    struct manifest_file file = {.name = "shard-0.safetensors"};
    struct manifest m = {.generation = generation,
                         .step = train_step,
                         .train_step = train_step,
                         .train_steps = 1000,
                         .written_at = (char[]){"now"},
                         .version = (char[]){"0"},
                         .numerics = (char[]){"n"},
                         .join = (char[]){"j"},
                         .join_bytes = 1,
                         .spec = json_object(),
                         .sums = json_object(),
                         .files = &file,
                         .file_count = 1};
    char *text = NULL;
    cr_assert_eq(manifest_write(&m, &text, ret_bytes), DP_OK);
    json_decref(m.spec);
    json_decref(m.sums);
    return text;
}

/* A checkpoint, as the head makes it. */
static dp_err make(uint64_t generation, uint64_t train_step, uint64_t keep)
{
    size_t bytes;
    char *text = manifest_text(generation, train_step, &bytes);
    uv_async_init(&loop, &done, on_done);
    dp_error begun;
    const struct checkpoint_finish finish = {train_step, text, bytes, keep, &done};
    cr_assert_eq(checkpoint_task_begin(writer, &folder, train_step, &begun), DP_OK);
    cr_assert_eq(checkpoint_task_finish(writer, &folder, &finish, &task), DP_OK);
    uv_run(&loop, UV_RUN_DEFAULT);
    checkpoint_task_free(&task);
    return outcome.code;
}

static void assert_steps(const char *wanted)
{
    char text[128] = "";
    uint64_t *steps;
    size_t count, at = 0;
    dp_error err;
    cr_assert_eq(folder_list(&folder, &steps, &count, &err), DP_OK, "%s", err.text);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%d", i ? " " : "", (int)steps[i]);
    free(steps);
    cr_assert_str_eq(text, wanted);
}

Test(checkpoint_task, the_newest_stay)
{
    begin();
    for (uint64_t step = 10; step <= 50; step += 10)
        cr_assert_eq(make(1, step, 3), DP_OK);
    assert_steps("30 40 50");
    cr_assert_eq(make(1, 50, 3), DP_OK); /* made again */
    assert_steps("30 40 50");
    cr_assert_eq(make(1, 60, 1), DP_OK);
    assert_steps("60");
    end();
    ASSERT_NO_LEAKS();
}

/* A job that was begun anew has fewer steps than what was there before it. */
Test(checkpoint_task, a_later_generation_is_newer_whatever_its_steps)
{
    begin();
    for (uint64_t step = 100; step <= 300; step += 100)
        cr_assert_eq(make(1, step, 3), DP_OK);
    cr_assert_eq(make(2, 5, 3), DP_OK);
    assert_steps("5 200 300");
    cr_assert_eq(make(2, 10, 3), DP_OK);
    cr_assert_eq(make(2, 15, 3), DP_OK);
    assert_steps("5 10 15");
    end();
    ASSERT_NO_LEAKS();
}

/* One that cannot be read is none of those that are kept, and is not removed. */
Test(checkpoint_task, a_damaged_one_does_not_count)
{
    char path[PATH_MAX];
    begin();
    cr_assert_eq(make(1, 10, 2), DP_OK);
    cr_assert(folder_path(&folder, 10, "manifest.json", path));
    cr_assert_eq(truncate(path, 5), 0);
    cr_assert_eq(make(1, 20, 2), DP_OK);
    cr_assert_eq(make(1, 30, 2), DP_OK);
    assert_steps("10 20 30");
    cr_assert_eq(make(1, 40, 2), DP_OK);
    assert_steps("10 30 40");
    end();
    ASSERT_NO_LEAKS();
}

Test(checkpoint_task, one_that_cannot_be_committed_says_so)
{
    size_t bytes;
    begin();
    cr_assert_eq(make(1, 10, 1), DP_OK);
    char *text = manifest_text(1, 20, &bytes);
    uv_async_init(&loop, &done, on_done);
    cr_assert_eq(checkpoint_task_finish(writer, &folder, &(struct checkpoint_finish){20, text, bytes, 1, &done}, &task),
                 DP_OK);
    uv_run(&loop, UV_RUN_DEFAULT); /* there is no draft */
    checkpoint_task_free(&task);
    cr_assert_eq(outcome.code, DP_IO);
    cr_assert_not_null(strstr(outcome.text, dir), "%s", outcome.text);
    assert_steps("10");
    end();
    ASSERT_NO_LEAKS();
}
