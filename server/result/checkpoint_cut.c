/* The checkpoint under way; see checkpoint_cut.h. Thread: head. */
#include "server/result/checkpoint_cut.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "server/result/checkpoint.h"
#include "server/result/checkpoint_manifest.h"
#include "server/result/checkpoint_say.h"
#include "server/result/checkpoint_task.h"
#include "server/seats/seats.h"
#include "server/result/doubts.h"
#include "server/show/resume.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

static void give_up_cut(struct head *head)
{
    const struct checkpoints *c = head->checkpoints;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        if (job_shard_holds(&head->job.shards[s]))
            (void)seats_send(&head->seats, s,
                             &(struct command){.kind = COMMAND_CUT, .cut = {c->number, UINT64_MAX, c->train_step}});
}

static void remove_draft(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    if (checkpoint_task_give_up(c->writer, &c->folder, c->train_step))
        log_warn("checkpoint-task reason=\"out of memory\"");
}

void checkpoint_drop_facts(struct checkpoints *c)
{
    json_decref(c->sums);
    c->sums = NULL;
    schedule_past_fini(&c->rates);
}

void checkpoint_withdraw(struct head *head)
{
    struct checkpoints *c = head->checkpoints;
    give_up_cut(head);
    remove_draft(head);
    checkpoint_drop_facts(c);
    c->phase = CHECKPOINT_IDLE;
}

/* Training goes on; the next one is tried when it is due. */
static void failed(struct head *head, const dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    if (c->phase == CHECKPOINT_CUT)
        checkpoint_withdraw(head);
    else
        remove_draft(head);
    checkpoint_say_failed(head, err);
    text_clean(c->error, sizeof c->error, err->text); /* names of files may be no UTF-8 */
    c->calls.ended(head, err);
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
    c->calls.ended(head, &fine);
}

void checkpoint_on_done(uv_async_t *async)
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
    if (c->phase != CHECKPOINT_CUT || c->missing > 0 || !c->sums || head->diverged)
        return;
    dp_err e = checkpoint_manifest(head, &text, &bytes);
    if (!e)
        e = checkpoint_task_finish(c->writer, &c->folder,
                                   &(struct checkpoint_finish){.train_step = c->train_step,
                                                               .manifest = text,
                                                               .bytes = bytes,
                                                               .keep = head->opts->checkpoints.keep,
                                                               .done = &c->done},
                                   &c->task);
    if (e) {
        free(text);
        (void)dp_fail(&err, DP_NOMEM, "out of memory for the manifest of a checkpoint");
        failed(head, &err);
        return;
    }
    c->phase = CHECKPOINT_COMMIT;
}

/* Settings of the schedule, those of the past first. */
static bool add_rates(const struct schedule *schedule, struct schedule_past *rates)
{
    const struct schedule_past *past = schedule->past;
    return (!past || schedule_past_add(rates, past->list, (uint32_t)past->count)) &&
           schedule_past_add(rates, schedule->changes, schedule->change_count);
}

void head_checkpoint_passes(struct head *head, uint64_t step)
{
    struct checkpoints *c = head->checkpoints;
    if (c->phase != CHECKPOINT_CUT || c->step != step || c->sums)
        return;
    c->sums = json_pack("{s:o, s:o}", "progress", progress_sums(&head->progress), "trend",
                        trend_sums_json(&head->doubts->trend));
    if (!c->sums)
        c->sums = json_object(); /* the display alone goes by them */
    c->consistency = head->job.core.consistency;
    c->has_settings = c->settings;
    if (!add_rates(&head->job.core.params.schedule, &c->rates)) {
        dp_error err;
        (void)dp_fail(&err, DP_NOMEM, "out of memory for the learning rates of a checkpoint");
        failed(head, &err);
        return;
    }
    commit_if_whole(head);
}

void checkpoint_ask_cut(struct head *head, enum checkpoint_reason reason, uint64_t step)
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
    c->waits_ms = CHECKPOINT_WAITS_MS;
    c->begun = (dp_error){.code = DP_OK};
    if (checkpoint_task_begin(c->writer, &c->folder, c->train_step, &c->begun))
        log_warn("checkpoint-task reason=\"out of memory\"");
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

static void add_file(struct head *head, uint32_t shard, const struct event_cut *cut)
{
    struct checkpoints *c = head->checkpoints;
    assert(c->missing > 0);
    struct manifest_file *file = &c->files[c->file_count++];
    char name[FOLDER_NAME_MAX];
    folder_shard_file(shard, name);
    *file = (struct manifest_file){.bytes = cut->bytes, .digest = cut->digest};
    (void)str_copy(file->name, sizeof file->name, name);
    c->missing--;
    commit_if_whole(head);
}

/* Files fail where their folder could not be made: that is the reason, then. */
static void fail_by(struct head *head, const char *text)
{
    const struct checkpoints *c = head->checkpoints;
    dp_error err;
    (void)dp_fail(&err, DP_IO, "%s", c->begun.code ? c->begun.text : text ? text : "out of memory for the reason");
    failed(head, &err);
}

void head_on_cut(struct head *head, uint32_t shard, struct event *event)
{
    struct checkpoints *c = head->checkpoints;
    const struct event_cut *cut = &event->cut;
    if (c->phase == CHECKPOINT_CUT && cut->number == c->number) {
        if (cut->outcome == CUT_WRITTEN) {
            add_file(head, shard, cut);
        } else if (cut->outcome == CUT_LATE) {
            c->calls.late(head);
        } else {
            fail_by(head, cut->text);
        }
    }
    event_fini(event);
}
