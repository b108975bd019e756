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
#include "server/result/checkpoint_manifest.h"
#include "server/result/checkpoint_open.h"
#include "server/result/checkpoint_say.h"
#include "server/result/checkpoint_task.h"
#include "server/result/doubts.h"
#include "server/result/due.h"
#include "server/show/resume.h"
#include "server/store/journal.h"
#include "server/store/writer.h"
#include "server/talk/journal.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum { SIGNAL_MS = 8000 /* a supervisor kills some 10 s after its signal */ };

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

static void on_done(uv_async_t *async);
static void look(struct head *head);

dp_err head_checkpoint_start(struct head *head, dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    if (!head->opts->checkpoints.dir)
        return DP_OK;
    dp_err e = checkpoint_open(head, err);
    if (!e && uv_async_init(&head->loop, &c->done, on_done))
        e = dp_fail(err, DP_SYSTEM, "cannot make a handle for checkpoints");
    if (e)
        return e;
    c->done.data = head;
    c->opened = true;
    return DP_OK;
}

/* The shards have ended; the writer wakes nobody once it has, too. */
void head_checkpoint_close(struct head *head, const struct news *news)
{
    struct checkpoints *c = head->checkpoints;
    (void)news;
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
    json_decref(c->sums);
    c->sums = NULL;
    checkpoint_answer(head, c->number, err);
    if (c->signal && (err->code || c->number > c->signal_after)) {
        if (err->code)
            checkpoint_say_last(head, "no checkpoint was made");
        signal_goes_on(head);
    }
    if (!err->code || c->asker_count > 0 || is_over(head)) /* else when it is due */
        look(head);
    head_news(head, &(struct news){.kind = NEWS_CHECKPOINT});
}

static void give_up_cut(struct head *head)
{
    const struct checkpoints *c = head->checkpoints;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        if (job_shard_holds(&head->job.shards[s]))
            (void)seats_send(&head->seats, s,
                             &(struct command){.kind = COMMAND_CUT, .cut = {c->number, UINT64_MAX, c->train_step}});
}

static void task(struct head *head, enum checkpoint_work work)
{
    struct checkpoints *c = head->checkpoints;
    if (checkpoint_task_new(c->writer, &c->folder, work, c->train_step, NULL, 0, 0, NULL, NULL))
        log_warn("checkpoint-task reason=\"out of memory\"");
}

/* The cut is not wanted any more. */
static void withdraw(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    give_up_cut(head);
    task(head, CHECKPOINT_GIVE_UP);
    json_decref(c->sums);
    c->sums = NULL;
    c->phase = CHECKPOINT_IDLE;
}

/* Training goes on; the next one is tried when it is due. */
static void failed(struct head *head, const dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    if (c->phase == CHECKPOINT_CUT)
        withdraw(head);
    else
        task(head, CHECKPOINT_GIVE_UP);
    checkpoint_say_failed(head, err);
    (void)str_copy(c->error, sizeof c->error, err->text);
    ended(head, err);
}

static void succeeded(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    const dp_error fine = {.code = DP_OK};
    c->any = c->made = true;
    c->last_step = c->step;
    c->last_train_step = c->train_step;
    c->last_ms = mono_ms();
    c->error[0] = '\0';
    checkpoint_say_made(head);
    ended(head, &fine);
}

static void on_done(uv_async_t *async)
{
    struct head *head = async->data;
    struct checkpoints *c = head->checkpoints;
    dp_error err = {.code = DP_OK};
    if (!c->task || !checkpoint_task_ended(c->task, &err))
        return;
    checkpoint_task_free(&c->task);
    if (err.code)
        failed(head, &err);
    else
        succeeded(head);
}

static void commit_if_whole(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    char *text = NULL;
    size_t bytes = 0;
    dp_error err;
    if (c->phase != CHECKPOINT_CUT || c->missing > 0 || !c->sums)
        return;
    dp_err e = checkpoint_manifest(head, &text, &bytes);
    if (!e)
        e = checkpoint_task_new(c->writer, &c->folder, CHECKPOINT_FINISH, c->train_step, text, bytes,
                                head->opts->checkpoints.keep, &c->done, &c->task);
    if (e) {
        free(text);
        (void)dp_fail(&err, DP_NOMEM, "out of memory for the manifest of a checkpoint");
        failed(head, &err);
        return;
    }
    c->phase = CHECKPOINT_COMMIT;
}

/* ---- a cut ---- */

void head_checkpoint_passes(struct head *head, uint64_t step)
{
    struct checkpoints *c = head->checkpoints;
    if (c->phase != CHECKPOINT_CUT || c->step != step || c->sums)
        return;
    c->sums = json_pack("{s:o, s:o}", "progress", progress_sums(&head->progress), "trend",
                        trend_sums_json(&head->doubts->trend));
    if (!c->sums)
        c->sums = json_object(); /* the display alone goes by them */
    commit_if_whole(head);
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

static void ask(struct head *head, enum checkpoint_reason reason, uint64_t step)
{
    struct checkpoints *c = head->checkpoints;
    dp_error err;
    bool sent = true;
    c->phase = CHECKPOINT_CUT;
    c->reason = reason;
    c->step = step;
    c->train_step = plan_trained(&head->job.core.plan, step);
    c->number++;
    c->missing = 0;
    c->file_count = 0;
    c->asked_ms = mono_ms();
    task(head, CHECKPOINT_BEGIN);
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        if (!job_shard_holds(&head->job.shards[s]))
            continue;
        const struct command command = {.kind = COMMAND_CUT, .cut = {c->number, step, c->train_step}};
        sent &= seats_send(&head->seats, s, &command);
        c->missing++;
    }
    if (!sent) {
        (void)dp_fail(&err, DP_BUSY, "the shards have too much to do for a checkpoint");
        failed(head, &err);
    } else {
        head_checkpoint_passes(head, head->global_low);
    }
}

static void ask_soon(struct head *head, enum checkpoint_reason reason)
{
    struct checkpoints *c = head->checkpoints;
    ask(head, reason, due_soon(&head->job.core.plan, farthest(head), c->tries));
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
    ask(head, CHECKPOINT_EVERY, plan_step_of(plan, next));
    c->due_step = next + every;
}

static void add_file(struct head *head, uint32_t shard, const struct event_cut *cut)
{
    struct checkpoints *c = head->checkpoints;
    struct manifest_file *file = &c->files[c->file_count++];
    char name[FOLDER_NAME_MAX];
    folder_shard_file(shard, name);
    *file = (struct manifest_file){.bytes = cut->bytes, .digest = cut->digest};
    (void)str_copy(file->name, sizeof file->name, name);
    c->missing--;
    commit_if_whole(head);
}

/* A shard is past the step: the next try is farther ahead. */
static void try_again(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    withdraw(head);
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

void head_on_cut(struct head *head, uint32_t shard, struct event *event)
{
    struct checkpoints *c = head->checkpoints;
    const struct event_cut *cut = &event->cut;
    dp_error err;
    if (c->phase == CHECKPOINT_CUT && cut->number == c->number) {
        if (cut->outcome == CUT_WRITTEN) {
            add_file(head, shard, cut);
        } else if (cut->outcome == CUT_LATE) {
            try_again(head);
        } else {
            (void)dp_fail(&err, DP_IO, "%s", cut->text ? cut->text : "out of memory for the reason");
            failed(head, &err);
        }
    }
    event_fini(event);
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
        withdraw(head);
    look(head);
}

/* The job cannot go on. One that is over has its checkpoint all the same. */
void head_checkpoint_failed(struct head *head, const struct news *news)
{
    struct checkpoints *c = head->checkpoints;
    if (head->job.settled && is_over(head) && !head->diverged)
        return;
    if (c->phase == CHECKPOINT_CUT)
        withdraw(head);
    checkpoint_refuse(head, DP_REFUSED, news->err->text);
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
    if (!c->signal || news->now_ms - MIN(news->now_ms, c->signal_ms) <= SIGNAL_MS)
        return;
    if (c->phase == CHECKPOINT_CUT)
        withdraw(head);
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
        withdraw(head);
}

bool head_checkpoint_at_signal(struct head *head, int signal, void (*then)(struct head *head, int signal))
{
    struct checkpoints *c = head->checkpoints;
    bool begun = head->job.settled && head->state == HEAD_RUNNING && head_begun(head);
    if (!enabled(c) || !begun || head->diverged || c->signal || (c->phase == CHECKPOINT_IDLE && !has_moved(c, head)))
        return false;
    make_way(head);
    c->signal = signal;
    c->signal_ms = mono_ms();
    c->signal_after = last_made(head);
    c->then = then;
    look(head);
    return true;
}

void head_checkpoint_forget(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    if (c->phase == CHECKPOINT_CUT)
        withdraw(head);
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
