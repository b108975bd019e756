/* The checkpoint under way: what the shard is told, and what becomes of cuts that were late or are not wanted any more.
 * The shard is a link that nobody reads but the test. */
#include "server/result/checkpoint_cut.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "server/link/local.h"
#include "server/result/closing.h"
#include "server/result/doubts.h"
#include "server/talk/shared.h"
#include "tests/unit/support/leaks.h"

enum { EVERY = 40, TRAIN_STEPS = 100, COMMANDS = 16 };

struct world {
    struct head head;
    struct server_options opts;
    struct job_shard shard;
    struct link_local link;
    struct shard_counters counters;
    struct checkpoints checkpoints;
    struct doubts doubts;
    struct ending ending;
    struct news_table deaf;
    char dir[32];
};

static void nothing(void *arg)
{
    (void)arg;
}

static void no_stop(struct seat *seat)
{
    (void)seat;
}

static void free_link(struct seat *seat)
{
    link_local_fini(seat->shard);
}

static void add_seat(struct world *w)
{
    static const struct seat_ops OPS = {no_stop, free_link};
    const struct link_waker waker = {nothing, NULL};
    const struct link_rooms rooms = {COMMANDS, 4, 2};
    cr_assert_eq(seats_reserve(&w->head.seats, 1), DP_OK);
    cr_assert_eq(link_local_init(&w->link, &rooms, waker, waker), DP_OK);
    seats_add(&w->head.seats, &(struct seat){.ops = &OPS,
                                             .shard = &w->link,
                                             .link = &w->link.link,
                                             .counters = &w->counters,
                                             .endpoint = "tcp://127.0.0.1:1",
                                             .told = "tcp://127.0.0.1:1",
                                             .shm_name = ""});
}

/* A job of one shard that runs, with --checkpoint-every EVERY. */
static void set_up(struct world *w)
{
    const Dp__Join join = DP__JOIN__INIT;
    dp_error err;
    struct head *head = &w->head;
    *w = (struct world){.dir = "/tmp/dp-cut-XXXXXX"};
    cr_assert_not_null(mkdtemp(w->dir));
    w->opts.checkpoints.dir = w->dir;
    w->opts.checkpoints.every_steps = EVERY;
    w->opts.checkpoints.keep = 3;
    w->shard.slice_count = 1;
    head->opts = &w->opts;
    head->state = HEAD_RUNNING;
    head->hearers = &w->deaf;
    head->checkpoints = &w->checkpoints;
    head->doubts = &w->doubts;
    head->ending = &w->ending;
    head->job.settled = true;
    head->job.shards = &w->shard;
    head->job.shard_count = 1;
    head->job.core.plan = (struct plan){.train_rows = 8, .batch = 8, .train_steps = TRAIN_STEPS, .slots = 8};
    cr_assert_eq(plan_total(&head->job.core.plan), TRAIN_STEPS);
    cr_assert_eq(uv_loop_init(&head->loop), 0);
    add_seat(w);
    cr_assert_eq(head_checkpoint_start(head, &err), DP_OK, "%s", err.text);
    cr_assert_eq(head_checkpoint_begin(head, &join), DP_OK);
}

static void tear_down(struct world *w)
{
    char path[64];
    head_checkpoint_close(&w->head, &(struct news){.kind = NEWS_CLOSING});
    uv_run(&w->head.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->head.loop), 0);
    head_checkpoint_fini(&w->head);
    seats_stop(&w->head.seats);
    seats_fini(&w->head.seats);
    snprintf(path, sizeof path, "%s/lock", w->dir);
    cr_assert_eq(unlink(path), 0);
    snprintf(path, sizeof path, "%s/log.jsonl", w->dir);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(w->dir), 0, "drafts are left");
    ASSERT_NO_LEAKS();
}

/* The next command is this cut's. Its number. */
static uint64_t expect_cut(struct world *w, uint64_t step)
{
    struct command command;
    cr_assert(link_local_take(&w->link, &command), "no command came for the cut at %llu", (unsigned long long)step);
    cr_assert_eq(command.kind, COMMAND_CUT);
    cr_assert_eq(command.cut.step, step, "%llu", (unsigned long long)command.cut.step);
    return command.cut.number;
}

static void expect_nothing(struct world *w)
{
    struct command command;
    cr_assert_not(link_local_take(&w->link, &command));
}

/* The shard and the head are at a step. */
static void reach(struct world *w, uint64_t step)
{
    w->head.global_low = step;
    counter_add(&w->counters.low, step - counter_get(&w->counters.low));
}

static void tell(struct world *w, uint64_t number, enum cut_outcome outcome)
{
    struct event event = {.kind = EVENT_CUT, .cut = {.number = number, .outcome = outcome}};
    head_on_cut(&w->head, 0, &event);
}

static void step(struct world *w)
{
    head_checkpoint_step(&w->head, &(struct news){.kind = NEWS_STEP});
}

static void over(struct world *w)
{
    head_checkpoint_over(&w->head, &(struct news){.kind = NEWS_OVER});
}

Test(checkpoint_cut, a_late_one_is_tried_at_the_next_multiple)
{
    struct world w;
    set_up(&w);
    step(&w);
    const uint64_t number = expect_cut(&w, EVERY);
    reach(&w, EVERY + 1);
    tell(&w, number, CUT_LATE);
    cr_assert_eq(expect_cut(&w, UINT64_MAX), number);
    const uint64_t next = expect_cut(&w, 2 * EVERY);
    cr_assert_neq(next, number);
    tell(&w, number, CUT_LATE); /* it was told before */
    expect_nothing(&w);
    cr_assert_eq(w.checkpoints.step, 2 * EVERY);
    tear_down(&w);
}

/* The shard was past the step, and the job has ended before the head heard of that. */
Test(checkpoint_cut, a_late_one_of_a_job_that_is_over_is_made_at_the_end)
{
    struct world w;
    set_up(&w);
    step(&w);
    const uint64_t number = expect_cut(&w, EVERY);
    reach(&w, TRAIN_STEPS);
    over(&w);
    expect_nothing(&w); /* one at a time */
    tell(&w, number, CUT_LATE);
    cr_assert_eq(expect_cut(&w, UINT64_MAX), number);
    (void)expect_cut(&w, TRAIN_STEPS);
    cr_assert(checkpoint_is_busy(&w.checkpoints, w.head.global_low), "the end waits for it");
    tear_down(&w);
}

Test(checkpoint_cut, one_to_come_gives_way_to_that_of_the_end)
{
    struct world w;
    set_up(&w);
    step(&w);
    const uint64_t number = expect_cut(&w, EVERY);
    reach(&w, EVERY - 1);
    w.head.job.over = true;
    over(&w);
    cr_assert_eq(expect_cut(&w, UINT64_MAX), number);
    (void)expect_cut(&w, EVERY - 1);
    tear_down(&w);
}

/* The checkpoint of the end is tried once. */
Test(checkpoint_cut, one_that_failed_is_told_and_left)
{
    struct world w;
    set_up(&w);
    reach(&w, TRAIN_STEPS);
    over(&w);
    const uint64_t number = expect_cut(&w, TRAIN_STEPS);
    struct event event = {.kind = EVENT_CUT, .cut = {.number = number, .outcome = CUT_FAILED, .text = strdup("why")}};
    head_on_cut(&w.head, 0, &event);
    cr_assert_str_eq(w.checkpoints.error, "why");
    cr_assert_eq(expect_cut(&w, UINT64_MAX), number);
    step(&w);
    expect_nothing(&w);
    cr_assert_not(checkpoint_is_busy(&w.checkpoints, w.head.global_low));
    tear_down(&w);
}
