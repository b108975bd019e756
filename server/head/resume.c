/* A job goes on from a checkpoint; see resume.h. Thread: head. */
#include "server/head/resume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/checkpoint/choose.h"
#include "proto/frame_check.h"
#include "server/head/settle.h"
#include "server/head/sums.h"
#include "server/options/spec.h"
#include "server/result/checkpoint.h"
#include "server/result/checkpoint_task.h"
#include "server/result/closing.h"
#include "server/result/doubts.h"
#include "server/show/resume.h"
#include "server/store/settings.h"
#include "server/store/source.h"
#include "server/talk/journal.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"

/* ---- the choice ---- */

static void say_damaged(void *arg, const dp_error *err)
{
    struct head *head = arg;
    char reason[sizeof err->text];
    text_clean(reason, sizeof reason, err->text);
    fprintf(stderr, "dp-server: a checkpoint is not used: %s\n", reason);
    head_journal(head, "checkpoint-damaged", json_pack("{s:s}", "reason", reason));
}

static dp_err take(struct head *head, struct manifest *chosen, dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    if (spec_check(chosen->spec, head->opts, c->folder.path, err))
        return err->code;
    c->resumed = mem_array(1, sizeof *c->resumed);
    if (!c->resumed)
        return dp_fail(err, DP_NOMEM, "out of memory for a checkpoint");
    *c->resumed = *chosen;
    /* A server that was killed, or whose disk failed, behind a commit has left one too many. */
    checkpoint_keep_some(&c->folder, chosen->train_step, head->opts->checkpoints.keep);
    *chosen = (struct manifest){0};
    return DP_OK;
}

/* `count`: checkpoints of the job before. Settings by dp-ctl go with it. */
static dp_err begin_anew(struct head *head, size_t count, dp_error *err)
{
    const struct folder *folder = &head->checkpoints->folder;
    struct setting_record *list = NULL;
    size_t set = 0;
    if (count > 0 && !head->opts->quiet)
        fprintf(stderr, "dp-server: the job begins anew: its checkpoints replace the %zu in %s\n", count, folder->path);
    else if (settings_read(folder, &list, &set, err) == DP_OK && set > 0)
        fprintf(stderr, "dp-server: dp-ctl set %zu value%s before the job had a checkpoint: set %s again\n", set,
                human_s(set), set == 1 ? "it" : "them");
    free(list);
    return settings_clear(folder, err);
}

/* Generations go on where the folder's latest is, whether that is used or not. */
static dp_err decide(struct head *head, struct checkpoint_list *list, dp_error *err)
{
    const char *dir = head->checkpoints->folder.path;
    const enum resume_mode mode = (enum resume_mode)head->opts->checkpoints.resume;
    const size_t count = list->count + list->damaged;
    struct checkpoint_chosen chosen;
    bool found;
    head->checkpoints->generation = list->generation + 1;
    if (mode == RESUME_NEVER)
        return begin_anew(head, count, err);
    dp_err e = checkpoint_list_choose(dir, list, (struct checkpoint_damage){say_damaged, head}, &chosen, &found, err);
    if (!e && found) {
        e = take(head, &chosen.manifest, err);
        manifest_fini(&chosen.manifest);
    }
    if (e || found)
        return e;
    if (count > 0)
        return dp_fail(err, DP_DATA,
                       "%.300s has checkpoints, and none of them is whole: give another --checkpoint-dir, or --resume "
                       "never to begin anew",
                       dir);
    if (mode == RESUME_REQUIRE)
        return dp_fail(err, DP_DATA, "option --resume require: %.300s has no checkpoint", dir);
    return begin_anew(head, 0, err);
}

dp_err head_resume_choose(struct head *head, dp_error *err)
{
    struct checkpoint_list list;
    if (!head->opts->checkpoints.dir)
        return DP_OK;
    dp_err e =
        checkpoint_list_read(head->checkpoints->folder.path, (struct checkpoint_damage){say_damaged, head}, &list, err);
    if (!e)
        e = decide(head, &list, err);
    checkpoint_list_fini(&list);
    return e;
}

/* ---- the job goes on ---- */

/* Rates that were set while the job ran, and the one that it was begun with; the latest where a step may still depend
 * on them, the others in the past. */
static dp_err take_rates(struct head *head, const struct schedule_past *rates, dp_error *err)
{
    struct schedule *schedule = &head->job.set_schedule;
    size_t recent = MIN(rates->count, (size_t)SCHEDULE_CHANGES_MAX / 2), past = rates->count - recent;
    schedule_past_fini(&head->job.past_rates);
    if (!schedule_past_add(&head->job.past_rates, rates->list, (uint32_t)past))
        return dp_fail(err, DP_NOMEM, "out of memory for learning rates that were set before");
    schedule->change_count = (uint32_t)recent;
    if (recent > 0)
        memcpy(schedule->changes, rates->list + past, recent * sizeof *rates->list);
    return DP_OK;
}

/* A rate that the command line has changed holds from here on; for the steps before, the one that was given then. */
static dp_err take_lr(struct head *head, const struct manifest *from, dp_error *err)
{
    struct schedule_past rates = {0};
    struct schedule_change begin = {0};
    const bool differs = spec_differs(from->spec, head->opts, "lr") && spec_number(from->spec, "lr", &begin.lr);
    const bool open = from->rates.count == 0 || from->rates.list[0].from > 0;
    bool good = !differs || !open || from->train_step == 0 || schedule_past_add(&rates, &begin, 1);
    good = good && schedule_past_add(&rates, from->rates.list, (uint32_t)from->rates.count);
    dp_err e = good ? take_rates(head, &rates, err) : dp_fail(err, DP_NOMEM, "out of memory for learning rates");
    schedule_past_fini(&rates);
    if (!e && differs && !schedule_set(&head->job.set_schedule, from->train_step, head->opts->setup.params.schedule.lr))
        e = dp_fail(err, DP_BUSY, "the learning rate was set too often");
    return e;
}

/* A mode that the command line has changed holds once the steps that are open in the checkpoint are over. */
static dp_err take_consistency(struct head *head, const struct manifest *from, dp_error *err)
{
    struct consistency *consistency = &head->job.set_consistency;
    uint32_t before = consistency_at(&from->consistency, from->step);
    *consistency = from->consistency;
    if (spec_differs(from->spec, head->opts, "consistency") &&
        !consistency_set(consistency, from->step + (before ? before + 1 : 0), head->opts->staleness))
        return dp_fail(err, DP_BUSY, "the consistency was set too often");
    return DP_OK;
}

/* On arrival slices have slots that others lack: the cuts between them stay, whatever the layout. */
static dp_err take_cuts(struct head *head, const struct manifest *from, dp_error *err)
{
    struct values_source *source = NULL;
    if (consistency_at(&from->consistency, from->step) == 0)
        return DP_OK;
    dp_err e = source_open(&head->checkpoints->folder, from->train_step, &source, err);
    if (!e)
        e = source_cuts(source, &head->job.cuts, &head->job.cut_count, err);
    source_close(&source);
    return e;
}

/* Settings after the checkpoint hold, unless the command line has another value now. */
static dp_err take_recorded(struct head *head, const struct manifest *from, dp_error *err)
{
    const bool lr = !spec_differs(from->spec, head->opts, "lr");
    const bool consistency = !spec_differs(from->spec, head->opts, "consistency");
    struct setting_record *list = NULL;
    size_t count = 0;
    dp_err e = settings_read(&head->checkpoints->folder, &list, &count, err);
    head->checkpoints->settings = MAX(from->settings, count > 0 ? list[count - 1].number : 0);
    for (size_t i = 0; !e && i < count; i++) {
        const struct setting_record *r = &list[i];
        double rate;
        bool room = true;
        memcpy(&rate, &r->value, sizeof rate);
        if (r->number > from->settings && r->name == SETTING_NAME_LR && lr)
            room = schedule_set(&head->job.set_schedule, r->from, rate);
        else if (r->number > from->settings && r->name == SETTING_NAME_CONSISTENCY && consistency)
            room = consistency_set(&head->job.set_consistency, r->from, (uint32_t)r->value);
        if (!room)
            e = dp_fail(err, DP_BUSY, "%s was set too often since the checkpoint",
                        r->name == SETTING_NAME_LR ? "lr" : "consistency");
    }
    free(list);
    return e;
}

static dp_err take_settings(struct head *head, const struct manifest *from, dp_error *err)
{
    head->job.set_schedule.periods = from->periods;
    dp_err e = take_lr(head, from, err);
    if (!e)
        e = take_consistency(head, from, err);
    if (!e)
        e = take_recorded(head, from, err);
    if (!e)
        e = take_cuts(head, from, err);
    (void)str_copy(head->job.numerics, sizeof head->job.numerics, from->numerics);
    head->job.begin = from;
    return e;
}

static void say_resumed(struct head *head, const struct manifest *from)
{
    char name[PATH_MAX], path[PATH_MAX];
    const uint64_t steps = head->job.core.plan.train_steps;
    const struct folder *folder = &head->checkpoints->folder;
    text_clean(path, sizeof path, folder_path(folder, from->train_step, "", name) ? name : folder->path);
    log_info("resumed train_step=%" PRIu64 " of=%" PRIu64 " generation=%" PRIu64 " from=\"%s\"", from->train_step,
             steps, head->checkpoints->generation, path);
    head_journal(head, "resumed",
                 json_pack("{s:I, s:s, s:I}", "train_step", (json_int_t)from->train_step, "path", path, "generation",
                           (json_int_t)head->checkpoints->generation));
    if (head->opts->quiet)
        return;
    if (head_resume_finished(head))
        fprintf(stderr, "dp-server: the job is finished: %" PRIu64 " training step%s, checkpoint %s\n",
                from->train_step, human_s(from->train_step), path);
    else if (job_open_ended(&head->job))
        fprintf(stderr, "dp-server: resumed at training step %" PRIu64 " from %s\n", from->train_step, path);
    else
        fprintf(stderr, "dp-server: resumed at training step %" PRIu64 " of %" PRIu64 " from %s\n", from->train_step,
                steps, path);
}

/* The message that settled the job, checked as when it came. */
static dp_err settle(struct head *head, const struct manifest *from, dp_error *err)
{
    Dp__Header header = DP__HEADER__INIT;
    dp_error why;
    header.body_case = DP__HEADER__BODY_JOIN;
    header.join = dp__join__unpack(NULL, from->join_bytes, from->join);
    if (!header.join || frame_check_body(&header, 0, &why)) {
        if (header.join)
            dp__join__free_unpacked(header.join, NULL);
        return dp_fail(err, DP_DATA, "%.300s: the manifest of training step %" PRIu64 " does not say what the job is",
                       head->checkpoints->folder.path, from->train_step);
    }
    dp_err e = take_settings(head, from, err);
    if (!e)
        e = head_settle(head, header.join, err);
    dp__join__free_unpacked(header.join, NULL);
    return e;
}

bool head_resume_finished(const struct head *head)
{
    const struct manifest *from = head->job.begin;
    if (!from)
        return false;
    return job_open_ended(&head->job) ? from->train_steps == from->train_step
                                      : head->job.core.first_step == plan_total(&head->job.core.plan);
}

dp_err head_resume(struct head *head, dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    const struct manifest *from = c->resumed;
    if (!from)
        return DP_OK;
    dp_err e = settle(head, from, err);
    if (!e)
        e = head_sums_resume(head, err);
    if (e)
        return e;
    progress_resume(&head->progress, json_object_get(from->sums, "progress"));
    trend_resume(&head->doubts->trend, json_object_get(from->sums, "trend"));
    c->any = true;
    c->last_step = head->job.core.first_step;
    c->last_train_step = from->train_step;
    c->end_tried = head_resume_finished(head); /* it is there */
    say_resumed(head, from);
    if (head_resume_finished(head)) {
        head->job.over = head->ending->finished_before = true;
        head_news(head, &(struct news){.kind = NEWS_OVER});
    }
    return DP_OK;
}
