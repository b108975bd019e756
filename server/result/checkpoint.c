/* Checkpoints of the job; see checkpoint.h. Thread: head. */
#include "server/result/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/result/checkpoint_askers.h"
#include "server/result/checkpoint_cut.h"
#include "server/result/checkpoint_open.h"
#include "server/result/checkpoint_say.h"
#include "server/result/checkpoint_task.h"
#include "server/result/closing.h"
#include "server/result/due.h"
#include "server/store/journal.h"
#include "server/store/writer.h"
#include "server/talk/journal.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum {
    SIGNAL_MS = 8000, /* a supervisor kills some 10 s after its signal */
    STOP_MS = 500,    /* after a signal, for what the writer is at */
    CLOSE_MS = 10000  /* else */
};

static bool enabled(const struct checkpoints *c)
{
    return c->folder.path[0] != '\0';
}

/* No step will follow. */
static bool is_over(const struct head *head)
{
    return head->job.over || head->global_low == plan_total(&head->job.core.plan);
}

/* ---- start and end ---- */

static void ended(struct head *head, const dp_error *err);
static void try_again(struct head *head);
static void look(struct head *head);

dp_err head_checkpoint_start(struct head *head, dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    if (!head->opts->checkpoints.dir)
        return DP_OK;
    c->calls = (struct checkpoint_calls){ended, try_again};
    dp_err e = checkpoint_open(head, err);
    if (!e && uv_async_init(&head->loop, &c->done, checkpoint_on_done))
        e = dp_fail(err, DP_SYSTEM, "cannot make a handle for checkpoints");
    if (e)
        return e;
    c->done.data = head;
    c->opened = true;
    return DP_OK;
}

/* Nothing that the writer uses may be freed, so the process ends here. */
static void end_without_writer(struct head *head)
{
    fprintf(stderr,
            "dp-server: the disk does not answer: what was being written to %s is given up; whole checkpoints there "
            "stay\n",
            head->checkpoints->folder.path);
    head_exit(head);
}

/* The shards have ended; the writer wakes nobody once it has, too. */
void head_checkpoint_close(struct head *head, const struct news *news)
{
    struct checkpoints *c = head->checkpoints;
    (void)news;
    if (!writer_idle(c->writer, head->exit_status > 128 ? STOP_MS : CLOSE_MS))
        end_without_writer(head);
    writer_stop(&c->writer);
    journal_close(&head->journal);
    if (c->phase == CHECKPOINT_CUT)
        folder_give_up(&c->folder, c->train_step);
    c->phase = CHECKPOINT_IDLE;
    if (c->opened)
        uv_close((uv_handle_t *)&c->done, NULL);
    c->opened = false;
}

void head_checkpoint_fini(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    head_checkpoint_forget(head);
    checkpoint_drop_facts(c); /* of one that did not become whole */
    checkpoint_task_free(&c->task);
    if (c->resumed)
        manifest_fini(c->resumed);
    free(c->resumed);
    if (enabled(c))
        folder_close(&c->folder);
}

dp_err head_checkpoint_begin(struct head *head, const Dp__Join *join)
{
    struct checkpoints *c = head->checkpoints;
    if (!enabled(c))
        return DP_OK;
    c->join_bytes = dp__join__get_packed_size(join);
    c->join = mem_array(c->join_bytes, 1);
    c->files = mem_array_zero(head->seats.count, sizeof *c->files);
    if (!c->join || !c->files)
        return DP_NOMEM;
    dp__join__pack(join, c->join);
    c->due_ms = mono_ms() + (uint64_t)(head->opts->checkpoints.every_s * 1000);
    return DP_OK;
}

/* ---- the end of a try ---- */

static void signal_goes_on(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    const int signal = c->signal;
    c->signal = 0;
    c->then(head, signal);
}

static void ended(struct head *head, const dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    c->phase = CHECKPOINT_IDLE;
    c->tries = 0;
    checkpoint_drop_facts(c);
    checkpoint_answer(head, c->number, err);
    const bool stops = c->signal && c->number > c->signal_after; /* else its own is still to be made */
    if (stops && err->code)
        checkpoint_say_last(head, "no checkpoint was made");
    if (!stops && (!err->code || c->asker_count > 0 || c->signal || is_over(head))) /* else when it is due */
        look(head);
    head_news(head, &(struct news){.kind = NEWS_CHECKPOINT});
    if (stops)
        signal_goes_on(head);
}

/* The first step that is not complete on the farthest shard, by what the shard itself says now. */
static uint64_t farthest(const struct head *head)
{
    uint64_t low = head->global_low;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        if (job_shard_holds(&head->job.shards[s]))
            low = MAX(low, counter_get(&seats_at(&head->seats, s)->counters->low));
    return MIN(low, plan_total(&head->job.core.plan));
}

static void ask_soon(struct head *head, enum checkpoint_reason reason)
{
    struct checkpoints *c = head->checkpoints;
    checkpoint_ask_cut(head, reason, due_soon(&head->job.core.plan, farthest(head), c->tries));
}

/* --checkpoint-every N: the next multiple is known beforehand, so that the cut is exactly there. */
static void ask_next_multiple(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    const struct plan *plan = &head->job.core.plan;
    uint64_t every = head->opts->checkpoints.every_steps, next = due_multiple(plan, every, farthest(head), c->tries);
    if (c->due_step && c->due_step < next && c->due_step < plan->train_steps) {
        char text[32];
        snprintf(text, sizeof text, "step-%" PRIu64, c->due_step);
        checkpoint_say_late(head, text);
    }
    c->due_step = next;
    if (next == UINT64_MAX)
        return;
    checkpoint_ask_cut(head, CHECKPOINT_EVERY, plan_step_of(plan, next));
    c->due_step = next + every;
}

/* A shard is past the step. */
static void try_again(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    checkpoint_withdraw(head);
    c->tries++;
    if (c->reason == CHECKPOINT_EVERY && is_over(head)) {
        look(head); /* no multiple will come, and the job's end waits for none: its own is to be made now */
    } else if (c->reason == CHECKPOINT_EVERY && head->opts->checkpoints.every_steps) {
        c->due_step = 0; /* of no slow disk */
        ask_next_multiple(head);
    } else {
        ask_soon(head, c->reason);
    }
}

/* ---- when ---- */

/* Whether there is anything that the last checkpoint does not have. */
static bool has_moved(const struct checkpoints *c, const struct head *head)
{
    return c->any ? head->global_low != c->last_step : head->global_low > head->job.core.first_step;
}

/* --checkpoint-every Ns. */
static void look_at_time(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    if (mono_ms() < c->due_ms || !has_moved(c, head))
        return;
    c->due_ms = mono_ms() + (uint64_t)(head->opts->checkpoints.every_s * 1000);
    ask_soon(head, CHECKPOINT_EVERY);
}

/* Begins what is to be made, while nothing is being made. */
static void look(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    const bool lives = head->state == HEAD_RUNNING || head->state == HEAD_EXPORTING || head->state == HEAD_DONE;
    if (!enabled(c) || c->phase != CHECKPOINT_IDLE || !head->job.settled || !lives || head->diverged)
        return;
    if (c->asker_count > 0 || c->signal) {
        c->end_tried |= is_over(head);
        ask_soon(head, CHECKPOINT_WANTED);
    } else if (is_over(head)) {
        if (!c->end_tried) {
            c->end_tried = true;
            ask_soon(head, CHECKPOINT_WANTED);
        }
    } else if (head->state != HEAD_RUNNING) {
        return;
    } else if (head->opts->checkpoints.every_steps) {
        if (c->due_step != UINT64_MAX)
            ask_next_multiple(head);
    } else {
        look_at_time(head);
    }
}

void head_checkpoint_step(struct head *head, const struct news *news)
{
    (void)news;
    look(head);
}

/* A cut that is still to come will not: that of the end takes its place. */
void head_checkpoint_over(struct head *head, const struct news *news)
{
    struct checkpoints *c = head->checkpoints;
    (void)news;
    if (c->phase == CHECKPOINT_CUT && c->step > head->global_low)
        checkpoint_withdraw(head);
    look(head);
}

/* The job cannot go on. One that is over has its checkpoint all the same. */
void head_checkpoint_failed(struct head *head, const struct news *news)
{
    struct checkpoints *c = head->checkpoints;
    if (head->job.settled && is_over(head) && !head->diverged)
        return;
    if (c->phase == CHECKPOINT_CUT)
        checkpoint_withdraw(head);
    checkpoint_refuse(head, DP_REFUSED, news->err->text);
}

/* The job is over, and waits for the disk alone. */
static void watch_end(struct head *head, uint64_t now_ms)
{
    struct checkpoints *c = head->checkpoints;
    if (!is_over(head) || !checkpoint_is_busy(c, head->global_low) || now_ms - MIN(now_ms, c->asked_ms) < c->waits_ms)
        return;
    checkpoint_say_waits(head, (now_ms - c->asked_ms) / 1000);
    c->waits_ms += CHECKPOINT_WAITS_MS;
}

/* --checkpoint-every Ns: the one before is being written still. */
static void watch_disk(struct head *head, uint64_t now_ms)
{
    struct checkpoints *c = head->checkpoints;
    if (head->opts->checkpoints.every_s <= 0 || !checkpoint_is_busy(c, head->global_low) || now_ms < c->due_ms)
        return;
    c->due_ms = now_ms + (uint64_t)(head->opts->checkpoints.every_s * 1000);
    checkpoint_say_late(head, "now");
}

void head_checkpoint_watch(struct head *head, const struct news *news)
{
    struct checkpoints *c = head->checkpoints;
    char why[64];
    if (!enabled(c))
        return;
    look(head);
    checkpoint_watch_askers(head, news->now_ms);
    watch_disk(head, news->now_ms);
    watch_end(head, news->now_ms);
    if (!c->signal || news->now_ms - MIN(news->now_ms, c->signal_ms) <= SIGNAL_MS)
        return;
    if (c->phase == CHECKPOINT_CUT)
        checkpoint_withdraw(head);
    c->left = true;
    snprintf(why, sizeof why, "no checkpoint was whole within %d s", SIGNAL_MS / 1000);
    checkpoint_say_last(head, why);
    signal_goes_on(head);
}

/* The number of the last cut whose step is complete already. */
static uint64_t last_made(const struct head *head)
{
    const struct checkpoints *c = head->checkpoints;
    bool to_come = c->phase == CHECKPOINT_CUT && !checkpoint_is_busy(c, head->global_low);
    return to_come ? c->number - 1 : c->number;
}

/* A cut that is still far ahead is one of --checkpoint-every: it comes after the one that is wanted now. */
static void make_way(struct head *head)
{
    const struct checkpoints *c = head->checkpoints;
    if (c->phase == CHECKPOINT_CUT && c->reason == CHECKPOINT_EVERY && c->step > farthest(head))
        checkpoint_withdraw(head);
}

bool head_checkpoint_returns(const struct head *head)
{
    return enabled(head->checkpoints) && !head->diverged && !(head->job.settled && is_over(head));
}

bool head_checkpoint_at_signal(struct head *head, int signal, void (*then)(struct head *head, int signal))
{
    struct checkpoints *c = head->checkpoints;
    const bool ends = head->ending->saved_waits; /* the job is over, but for the one that is being made */
    const bool begun = head->job.settled && head->state == HEAD_RUNNING && head_begun(head);
    const bool wanted = begun && !head->diverged && (c->phase != CHECKPOINT_IDLE || has_moved(c, head));
    if (!enabled(c) || c->signal || (!ends && !wanted))
        return false;
    if (!ends)
        make_way(head);
    c->signal = signal;
    c->signal_ms = mono_ms();
    c->signal_after = ends ? 0 : last_made(head);
    c->then = then;
    look(head);
    return true;
}

void head_checkpoint_forget(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    if (c->phase == CHECKPOINT_CUT)
        checkpoint_withdraw(head);
    if (c->writer)
        checkpoint_refuse(head, DP_BUSY, "the job is settled anew, try again");
    free(c->join);
    free(c->files);
    c->join = NULL;
    c->files = NULL;
    c->join_bytes = 0;
    c->due_step = 0;
}

/* ---- dp-ctl checkpoint ---- */

void head_on_checkpoint(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    if (!checkpoint_admit(head, route, request))
        return;
    make_way(head);
    checkpoint_ask(head, route, request, last_made(head));
    look(head);
}
