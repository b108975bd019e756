/* Cuts on a shard's thread: the file that the writer is given, and one answer to each COMMAND_CUT. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <xxhash.h>
#include <zmq.h>

#include "common/net/zuv_term.h"
#include "server/net/thread.h"
#include "server/store/folder.h"
#include "common/checkpoint/shard_file.h"
#include "server/store/writer.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

enum { WAIT_MS = 60000, ELEMS = 1000, SHARD = 2, FILE_MAX = 1 << 16 };

struct world {
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t deadline;
    void *zmq;
    struct port port;
    struct folder folder;
    struct writer *writer;
    char dir[PATH_MAX];
    struct shard_job job;
    struct event_cut cut; /* the last one; its text is ours */
    uint32_t cuts, owed;
};

static void on_wake(uv_async_t *wake)
{
    struct world *w = wake->data;
    struct event event;
    while (shard_link_take(w->port.link, &event)) {
        if (event.kind == EVENT_CUT) {
            free(w->cut.text);
            w->cut = event.cut;
            event.cut.text = NULL;
            w->cuts++;
        }
        cr_assert_neq(event.kind, EVENT_FAILED);
        w->owed += event.kind == EVENT_OWED;
        event_fini(&event);
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
    dp_error err;
    *w = (struct world){.job = {.plan = {.seed = 5, .train_rows = 8, .batch = 4, .train_steps = 20, .slots = 1},
                                .rule = &rule_adam,
                                .params = {.schedule = {.lr = 0.1, .period = 1, .period_mult = 1, .every = 1}}}};
    cr_assert_eq(tensors_add(&w->job.tensors, "w", 1, &elems, INIT_NORMAL, 1, true, &err), DP_OK);
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    uv_async_init(&w->loop, &w->wake, on_wake);
    uv_timer_init(&w->loop, &w->deadline);
    uv_timer_start(&w->deadline, on_deadline, WAIT_MS, 0);
    w->wake.data = w;
    w->zmq = zmq_ctx_new();
    folder_make(w->dir);
    cr_assert_eq(folder_open(w->dir, "lock", "test", &w->folder, &err), DP_OK, "%s", err.text);
    cr_assert_eq(writer_start(&w->writer, &err), DP_OK, "%s", err.text);
    const struct port_place place = {.listen = "tcp://127.0.0.1:0",
                                     .mode = SHM_OFF,
                                     .checkpoints = checkpoints ? &w->folder : NULL,
                                     .writer = checkpoints ? w->writer : NULL};
    cr_assert_eq(port_start(&w->port, SHARD, w->zmq, &place, &w->wake, &err), DP_OK, "%s", err.text);
}

static void tear_down(struct world *w)
{
    port_stop(&w->port);
    writer_stop(&w->writer);
    zuv_term(w->zmq);
    port_fini(&w->port);
    folder_close(&w->folder);
    uv_close((uv_handle_t *)&w->wake, NULL);
    uv_close((uv_handle_t *)&w->deadline, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
    free(w->cut.text);
    ASSERT_NO_LEAKS();
}

static void begin(struct world *w, uint32_t slices)
{
    struct command command = {.kind = COMMAND_START, .start = command_start_new(&w->job, slices, 0)};
    cr_assert(command.start);
    if (slices)
        command.start->slices[0] = (struct range){0, ELEMS};
    cr_assert(shard_link_send(w->port.link, &command));
}

static void ask(struct world *w, uint64_t number, uint64_t step, uint64_t train_step)
{
    cr_assert(shard_link_send(w->port.link, &(struct command){.kind = COMMAND_CUT, .cut = {number, step, train_step}}));
}

static void await_cuts(struct world *w, uint32_t cuts)
{
    while (w->cuts < cuts)
        uv_run(&w->loop, UV_RUN_ONCE);
    cr_assert_eq(w->cuts, cuts);
}

/* Until the shard has obeyed all that was sent. */
static void settle(struct world *w)
{
    const uint32_t owed = w->owed + 1;
    cr_assert(shard_link_send(w->port.link, &(struct command){.kind = COMMAND_OWED}));
    while (w->owed < owed)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void draft(struct world *w, uint64_t train_step)
{
    dp_error err;
    cr_assert_eq(folder_begin(&w->folder, train_step, &err), DP_OK, "%s", err.text);
}

static bool shard_file_path(const struct world *w, uint64_t train_step, char *path)
{
    char name[FOLDER_NAME_MAX];
    folder_shard_file(SHARD, name);
    cr_assert(folder_draft_path(&w->folder, train_step, name, path));
    return access(path, F_OK) == 0;
}

/* The file has the digest that was told, and reads as the first values of the job. */
static void check_file(const struct world *w, uint64_t train_step)
{
    static char data[FILE_MAX];
    char path[PATH_MAX];
    float theta[ELEMS], got[ELEMS];
    struct shard_file file;
    dp_error err;
    cr_assert(shard_file_path(w, train_step, path), "no %s", path);
    FILE *raw = fopen(path, "rb");
    size_t bytes = fread(data, 1, sizeof data, raw);
    fclose(raw);
    cr_assert_eq(bytes, w->cut.bytes);
    cr_assert_eq(XXH3_64bits(data, bytes), w->cut.digest);
    cr_assert_eq(shard_file_open(path, &file, &err), DP_OK, "%s", err.text);
    const struct shard_file_facts *facts = &file.facts;
    cr_assert(facts->step == 0 && facts->train_step == train_step && facts->shard == SHARD && facts->states == 2);
    cr_assert(facts->range_count == 1 && facts->ranges[0].first == 0 && facts->ranges[0].count == ELEMS);
    tensors_init_range(&w->job.tensors, w->job.plan.seed, 0, ELEMS, theta);
    cr_assert_eq(shard_file_read(&file, 0, -1, 0, ELEMS, got, &err), DP_OK);
    cr_assert_eq(memcmp(got, theta, sizeof theta), 0);
    for (int state = 0; state < 2; state++) {
        cr_assert_eq(shard_file_read(&file, 0, state, 0, ELEMS, got, &err), DP_OK);
        for (uint32_t i = 0; i < ELEMS; i++)
            cr_assert_eq(got[i], 0);
    }
    shard_file_close(&file);
}

Test(port_cut, writes_the_shards_file)
{
    static struct world w;
    set_up(&w, true);
    begin(&w, 1);
    draft(&w, 7);
    ask(&w, 41, 0, 7);
    await_cuts(&w, 1);
    cr_assert(w.cut.number == 41 && w.cut.step == 0 && w.cut.outcome == CUT_WRITTEN && !w.cut.text);
    check_file(&w, 7);
    draft(&w, 8);
    ask(&w, 42, 0, 8); /* and once more */
    await_cuts(&w, 2);
    cr_assert(w.cut.number == 42 && w.cut.outcome == CUT_WRITTEN);
    check_file(&w, 8);
    tear_down(&w);
}

Test(port_cut, of_a_shard_that_holds_nothing_writes_no_file)
{
    static struct world w;
    char path[PATH_MAX];
    set_up(&w, true);
    begin(&w, 0);
    draft(&w, 0);
    ask(&w, 1, 0, 0);
    await_cuts(&w, 1);
    cr_assert(w.cut.outcome == CUT_WRITTEN && w.cut.bytes == 0 && w.cut.digest == 0);
    cr_assert_not(shard_file_path(&w, 0, path));
    tear_down(&w);
}

Test(port_cut, is_given_up_by_word_or_by_the_next)
{
    static struct world w;
    set_up(&w, true);
    begin(&w, 1);
    ask(&w, 1, 3, 3); /* nobody trains: it is never there */
    ask(&w, 2, UINT64_MAX, 0);
    await_cuts(&w, 1);
    cr_assert(w.cut.number == 1 && w.cut.step == 3 && w.cut.outcome == CUT_FAILED);
    cr_assert(strstr(w.cut.text, "given up"), "%s", w.cut.text);
    ask(&w, 3, UINT64_MAX, 0); /* of what is not asked */
    ask(&w, 4, 3, 3);
    draft(&w, 9);
    ask(&w, 5, 0, 9);
    await_cuts(&w, 3);
    cr_assert(w.cut.number == 5 && w.cut.outcome == CUT_WRITTEN);
    check_file(&w, 9);
    ask(&w, 6, 3, 3);
    settle(&w);
    tear_down(&w); /* ends with the thread */
}

Test(port_cut, that_cannot_be_says_why)
{
    static struct world w;
    set_up(&w, true);
    ask(&w, 1, 0, 0);
    await_cuts(&w, 1);
    cr_assert_eq(w.cut.outcome, CUT_FAILED, "there is no job");
    begin(&w, 1);
    ask(&w, 2, 21, 21);
    await_cuts(&w, 2);
    cr_assert_eq(w.cut.outcome, CUT_FAILED);
    cr_assert(strstr(w.cut.text, "step 21"), "%s", w.cut.text);
    ask(&w, 3, 0, 77); /* its folder is not there */
    await_cuts(&w, 3);
    cr_assert_eq(w.cut.outcome, CUT_FAILED);
    cr_assert(strstr(w.cut.text, "shard-2.safetensors") && strstr(w.cut.text, "No such file"), "%s", w.cut.text);
    cr_assert(w.cut.bytes == 0 && w.cut.digest == 0);
    draft(&w, 78); /* and it goes on */
    ask(&w, 4, 0, 78);
    await_cuts(&w, 4);
    cr_assert_eq(w.cut.outcome, CUT_WRITTEN);
    tear_down(&w);
}

/* As on a full disk: a part of the file can be written. */
Test(port_cut, that_finds_no_room_fails_and_leaves_no_file)
{
    static struct world w;
    char path[PATH_MAX];
    struct rlimit before;
    signal(SIGXFSZ, SIG_IGN);
    set_up(&w, true);
    begin(&w, 1);
    draft(&w, 3);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ELEMS, before.rlim_max}), 0);
    ask(&w, 1, 0, 3);
    await_cuts(&w, 1);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(w.cut.outcome, CUT_FAILED);
    cr_assert(strstr(w.cut.text, "shard-2.safetensors") && strstr(w.cut.text, "File too large"), "%s", w.cut.text);
    cr_assert_not(shard_file_path(&w, 3, path), "%s is left", path);
    ask(&w, 2, 0, 3);
    await_cuts(&w, 2);
    cr_assert_eq(w.cut.outcome, CUT_WRITTEN);
    check_file(&w, 3);
    tear_down(&w);
}

Test(port_cut, without_a_folder_fails)
{
    static struct world w;
    set_up(&w, false);
    begin(&w, 1);
    ask(&w, 1, 0, 0);
    await_cuts(&w, 1);
    cr_assert(w.cut.outcome == CUT_FAILED && strstr(w.cut.text, "--checkpoint-dir"));
    tear_down(&w);
}

/* A job that is settled anew takes its cut along, without an answer. */
Test(port_cut, ends_with_its_job)
{
    static struct world w;
    char path[PATH_MAX];
    set_up(&w, true);
    begin(&w, 1);
    ask(&w, 1, 5, 5);
    cr_assert(shard_link_send(w.port.link, &(struct command){.kind = COMMAND_RESET}));
    settle(&w);
    begin(&w, 1);
    draft(&w, 6);
    ask(&w, 2, 0, 6);
    await_cuts(&w, 1);
    cr_assert(w.cut.number == 2 && w.cut.outcome == CUT_WRITTEN);
    cr_assert(shard_file_path(&w, 6, path));
    tear_down(&w);
}

TestSuite(port_cut, .timeout = 120);
