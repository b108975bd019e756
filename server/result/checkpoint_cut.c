/* The checkpoint under way; see checkpoint_cut.h. Thread: head. */
#include "server/result/checkpoint_cut.h"

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

static void task(struct head *head, enum checkpoint_work work)
{
    struct checkpoints *c = head->checkpoints;
    if (checkpoint_task_new(c->writer, &c->folder, work, c->train_step, NULL, 0, 0, NULL, NULL))
        log_warn("checkpoint-task reason=\"out of memory\"");
}

void checkpoint_withdraw(struct head *head)
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
        checkpoint_withdraw(head);
    else
        task(head, CHECKPOINT_GIVE_UP);
    checkpoint_say_failed(head, err);
    (void)str_copy(c->error, sizeof c->error, err->text);
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

void head_on_cut(struct head *head, uint32_t shard, struct event *event)
{
    struct checkpoints *c = head->checkpoints;
    const struct event_cut *cut = &event->cut;
    dp_error err;
    if (c->phase == CHECKPOINT_CUT && cut->number == c->number) {
        if (cut->outcome == CUT_WRITTEN) {
            add_file(head, shard, cut);
        } else if (cut->outcome == CUT_LATE) {
            c->calls.late(head);
        } else {
            (void)dp_fail(&err, DP_IO, "%s", cut->text ? cut->text : "out of memory for the reason");
            failed(head, &err);
        }
    }
    event_fini(event);
}
