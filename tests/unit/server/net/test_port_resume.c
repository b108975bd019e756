/* A shard's thread begins a job from a checkpoint, or says why it cannot. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/net/zuv_term.h"
#include "server/net/thread.h"
#include "server/store/folder.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/shard_file.h"
#include "server/store/writer.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/manifests.h"

enum { WAIT_MS = 60000, ELEMS = 100, STEP = 4, SLOTS = 3, BATCH = 6 };

struct world {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t deadline;
    void *zmq;
    struct port port;
    struct folder folder;
    struct writer *writer;
    struct shard_job job;
    struct event last; /* of the kinds that are awaited; ours */
    uint32_t completed;
};

static void on_wake(uv_async_t *wake)
{
    struct world *w = wake->data;
    struct event event;
    while (shard_link_take(w->port.link, &event)) {
        w->completed += event.kind == EVENT_COMPLETED;
        if (w->last.kind != EVENT_KINDS)
            event_fini(&w->last);
        w->last = event;
    }
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("the shard does not answer");
}

static void set_up(struct world *w, bool checkpoints)
{
    const uint64_t elems = ELEMS;
    char dir[PATH_MAX];
    dp_error err;
    *w =
        (struct world){.last.kind = EVENT_KINDS,
                       .job = {.plan = {.seed = 5, .train_rows = 60, .batch = BATCH, .train_steps = 10, .slots = SLOTS},
                               .first_step = STEP,
                               .rule = &rule_momentum,
                               .params = {.schedule = {.lr = 0.1, .period = 1, .period_mult = 1, .every = 1}}}};
    cr_assert_eq(tensors_add(&w->job.tensors, "w", 1, &elems, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert(consistency_set(&w->job.consistency, 0, 2));
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    uv_async_init(&w->loop, &w->wake, on_wake);
    uv_timer_init(&w->loop, &w->deadline);
    uv_timer_start(&w->deadline, on_deadline, WAIT_MS, 0);
    w->wake.data = w;
    w->zmq = zmq_ctx_new();
    folder_make(dir);
    cr_assert_eq(folder_open(dir, "lock", "test", &w->folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(writer_start(&w->writer, &err), DP_OK, "%s", err.text);
    const struct port_place place = {.listen = "tcp://127.0.0.1:0",
                                     .mode = SHM_OFF,
                                     .checkpoints = checkpoints ? &w->folder : NULL,
                                     .writer = checkpoints ? w->writer : NULL};
    cr_assert_eq(port_start(&w->port, 0, w->zmq, &place, &w->wake, &err), DP_OK, "%s", err.text);
}

static void tear_down(struct world *w)
{
    char dir[PATH_MAX];
    port_stop(&w->port);
    if (w->last.kind != EVENT_KINDS)
        event_fini(&w->last); /* versions are the shard's */
    writer_stop(&w->writer);
    zuv_term(w->zmq);
    port_fini(&w->port);
    snprintf(dir, sizeof dir, "%s", w->folder.path);
    folder_close(&w->folder);
    folder_unmake(dir);
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_close((uv_handle_t *)&w->deadline, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
    ASSERT_NO_LEAKS();
}

TestSuite(port_resume, .timeout = 120);

/* ---- a checkpoint ---- */

static void write_file(const struct world *w, const char *name)
{
    struct metrics sums[] = {{BATCH, 1.5, 4}, {2, 0.25, 1}};
    uint8_t accepted[] = {0x07, 0x02}; /* all slots of the first step, one of the next */
    struct shard_file_range range = {"w", 0, ELEMS};
    struct shard_file_arrivals arrivals = {0, ELEMS, 2, sums, accepted};
    const struct shard_file_facts facts = {.step = STEP,
                                           .train_step = STEP,
                                           .slots = SLOTS,
                                           .states = 1,
                                           .rule = "momentum",
                                           .range_count = 1,
                                           .ranges = &range,
                                           .arrival_count = 1,
                                           .arrivals = &arrivals};
    char path[PATH_MAX], *head;
    size_t bytes;
    cr_assert_eq(shard_file_head(&facts, &head, &bytes), DP_OK);
    cr_assert(folder_draft_path(&w->folder, STEP, name, path));
    FILE *out = fopen(path, "wb");
    cr_assert(out && fwrite(head, 1, bytes, out) == bytes);
    for (uint32_t i = 0; i < 2 * ELEMS; i++) {
        const float x = (float)i;
        cr_assert_eq(fwrite(&x, sizeof x, 1, out), 1);
    }
    cr_assert_eq(fclose(out), 0);
    free(head);
}

static void write_checkpoint(const struct world *w)
{
    struct manifest_file file = {.name = "shard-0.safetensors"};
    dp_error err;
    cr_assert_eq(folder_begin(&w->folder, STEP, &err), DP_OK, "%s", err.text);
    write_file(w, file.name);
    manifest_commit(&w->folder, STEP, STEP, 10, &file, 1);
}

/* ---- the thread ---- */

static void begin(struct world *w)
{
    struct command command = {.kind = COMMAND_START, .start = command_start_new(&w->job, 1, 0)};
    cr_assert(command.start);
    command.start->slices[0] = (struct range){0, ELEMS};
    command.start->checkpoint = 1 + STEP;
    cr_assert(shard_link_send(w->port.link, &command));
}

static void await(struct world *w, enum event_kind kind)
{
    while (w->last.kind != kind)
        uv_run(&w->loop, UV_RUN_ONCE);
}

/* The slots of its first step have all come before the cut, and nobody will push one. */
Test(port_resume, begins_with_the_values_and_passes_what_is_complete)
{
    static struct world w;
    set_up(&w, true);
    write_checkpoint(&w);
    begin(&w);
    await(&w, EVENT_COMPLETED);
    const struct event_completed *completed = &w.last.completed;
    cr_assert_eq(completed->step, STEP);
    cr_assert(completed->metrics.count == BATCH && completed->metrics.loss == 1.5 && completed->metrics.correct == 4);
    cr_assert(shard_link_send(w.port.link, &(struct command){.kind = COMMAND_PIN, .pin = {STEP + 1, 1}}));
    await(&w, EVENT_PINNED);
    cr_assert_eq(w.completed, 1, "the next step lacks slots");
    cr_assert_eq(w.last.pinned.version_count, 1);
    for (uint32_t i = 0; i < ELEMS; i++)
        cr_assert_eq(w.last.pinned.versions[0]->theta[i], (float)i);
    tear_down(&w);
}

Test(port_resume, of_a_checkpoint_that_is_not_there_fails)
{
    static struct world w;
    set_up(&w, true);
    begin(&w);
    await(&w, EVENT_FAILED);
    cr_assert(strstr(w.last.failed->text, "step-000000000004") && strstr(w.last.failed->text, "No such file"), "%s",
              w.last.failed->text);
    tear_down(&w);
}

Test(port_resume, without_a_folder_fails)
{
    static struct world w;
    set_up(&w, false);
    begin(&w);
    await(&w, EVENT_FAILED);
    cr_assert(strstr(w.last.failed->text, "--checkpoint-dir"), "%s", w.last.failed->text);
    tear_down(&w);
}

/* The job says another rule than its checkpoint. */
Test(port_resume, of_another_job_fails)
{
    static struct world w;
    set_up(&w, true);
    write_checkpoint(&w);
    w.job.rule = &rule_adam;
    begin(&w);
    await(&w, EVENT_FAILED);
    cr_assert(strstr(w.last.failed->text, "shard-0.safetensors") && strstr(w.last.failed->text, "'momentum'"), "%s",
              w.last.failed->text);
    tear_down(&w);
}
