/* Settings of the running job, effective at one step on all shards (DESIGN rule 3): the head prepares at a step, each
 * shard promises to commit nothing from there on, or names a later step that it promises instead; once all have
 * promised the same step, the head commits. The second round always agrees, since everyone waits. Thread: head. */
#include "server/head/control.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/util.h"
#include "common/options/value.h"
#include "server/head/answers.h"
#include "server/head/consistency.h"
#include "server/result/checkpoint.h"
#include "server/store/settings.h"
#include "server/store/stream.h"
#include "server/talk/journal.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

/* Asks all shards that have parameters. False if one has too much to do. */
static bool prepare(struct head *head, uint64_t step)
{
    struct control *control = head->control;
    control->step = control->latest = step;
    control->missing = 0;
    for (uint32_t s = 0; s < head->job.shard_count; s++) {
        if (!job_shard_holds(&head->job.shards[s]))
            continue;
        if (!seats_send(&head->seats, s,
                        &(struct command){.kind = COMMAND_PREPARE, .prepare = {step, control->setting.kind}}))
            return false;
        control->missing++;
    }
    return true;
}

static void answer(struct head *head, uint64_t step)
{
    struct control *control = head->control;
    const struct plan *plan = &head->job.core.plan;
    Dp__Applied body = DP__APPLIED__INIT;
    body.step = step;
    body.train_step = plan_at(plan, step).train_step;
    Dp__Header header = DP__HEADER__INIT;
    header.request = control->request;
    header.body_case = DP__HEADER__BODY_APPLIED;
    header.applied = &body;
    if (head_send(head, &control->route, &header, NULL))
        log_debug("reply-lost to=dp-ctl");
}

/* The head's own copy of what the shards have been told; that there is room was checked. */
static void keep(struct head *head, uint64_t step)
{
    struct shard_job *core = &head->job.core;
    const struct setting *setting = &head->control->setting;
    char text[CONSISTENCY_TEXT_MAX];
    head->control->lr_sets += setting->kind == SETTING_LR;
    head_status_stale(head);
    if (setting->kind == SETTING_LR) {
        (void)schedule_set(&core->params.schedule, plan_at(&core->plan, step).train_step, setting->lr);
        log_info("set name=lr value=%.9g step=%" PRIu64, setting->lr, step);
        head_journal(head, "set",
                     json_pack("{s:s, s:f, s:I}", "name", "lr", "value", setting->lr, "step", (json_int_t)step));
        return;
    }
    (void)consistency_set(&core->consistency, step, setting->staleness);
    consistency_text(setting->staleness, text);
    log_info("set name=consistency value=%s step=%" PRIu64, text, step);
    head_journal(head, "set",
                 json_pack("{s:s, s:s, s:I}", "name", "consistency", "value", text, "step", (json_int_t)step));
}

/* ---- a restart finds it ---- */

static void wake(void *arg)
{
    uv_async_send(arg);
}

/* dp-ctl hears of it once the disk has it. False: there is no --checkpoint-dir. */
static bool record(struct head *head, uint64_t step)
{
    struct checkpoints *c = head->checkpoints;
    struct control *control = head->control;
    const struct setting *setting = &control->setting;
    const bool lr = setting->kind == SETTING_LR;
    if (!head->opts->checkpoints.dir)
        return false;
    struct setting_record record = {.number = ++c->settings,
                                    .name = lr ? SETTING_NAME_LR : SETTING_NAME_CONSISTENCY,
                                    .from = lr ? plan_at(&head->job.core.plan, step).train_step : step,
                                    .value = setting->staleness};
    if (lr)
        memcpy(&record.value, &setting->lr, sizeof record.value);
    const struct stream_waker waker = {wake, &control->written};
    if (settings_write(c->writer, &c->folder, &record, &waker, &control->write)) {
        log_warn("set-not-recorded reason=\"out of memory\"");
        return false;
    }
    control->busy = true;
    control->step = step;
    return true;
}

static void on_written(uv_async_t *async)
{
    struct head *head = async->data;
    struct control *control = head->control;
    dp_error err = {.code = DP_OK};
    if (!control->write || !setting_written(control->write, &err))
        return;
    setting_write_free(&control->write);
    const bool asked = control->busy;
    control->busy = false;
    if (err.code)
        log_warn("set-not-recorded reason=\"%s\" consequence=\"a server that is killed before its next checkpoint "
                 "loses what was set\"",
                 err.text);
    if (asked)
        answer(head, control->step);
}

dp_err head_control_start(struct head *head, dp_error *err)
{
    struct control *control = head->control;
    if (uv_async_init(&head->loop, &control->written, on_written))
        return dp_fail(err, DP_SYSTEM, "cannot make a handle for settings");
    control->written.data = head;
    control->opened = true;
    return DP_OK;
}

void head_control_close(struct head *head, const struct news *news)
{
    struct control *control = head->control;
    (void)news;
    setting_write_free(&control->write);
    if (control->opened)
        uv_close((uv_handle_t *)&control->written, NULL);
    control->opened = false;
}

/* ---- agreement ---- */

/* All shards have promised `step`. Those whose job is over have nothing left to change. */
static void commit(struct head *head, uint64_t step)
{
    struct control *control = head->control;
    dp_error err;
    bool sent = true, over = step >= plan_total(&head->job.core.plan);
    control->busy = false;
    for (uint32_t s = 0; s < head->job.shard_count; s++)
        if (job_shard_holds(&head->job.shards[s]))
            sent &=
                seats_send(&head->seats, s, &(struct command){.kind = COMMAND_SET, .set = {step, control->setting}});
    if (!sent) {
        (void)dp_fail(&err, DP_BUSY, "a shard has too much to do for a setting that others have taken");
        head_fail(head, &err);
        return;
    }
    if (over) {
        Dp__Header request = DP__HEADER__INIT;
        request.request = control->request;
        head_refuse(head, &control->route, &request, DP_JOB_DONE, "all steps are done");
        return;
    }
    keep(head, step);
    if (!record(head, step))
        answer(head, step);
}

void head_on_prepared(struct head *head, uint64_t step)
{
    struct control *control = head->control;
    dp_error err;
    if (!control->busy)
        return;
    assert(control->missing > 0);
    control->latest = MAX(control->latest, step);
    if (--control->missing > 0)
        return;
    if (control->latest == control->step) {
        commit(head, control->step);
    } else if (!prepare(head, control->latest)) {
        (void)dp_fail(&err, DP_BUSY, "a shard has too much to do for a setting that others wait for");
        head_fail(head, &err);
    }
}

static dp_err check_lr(const struct head *head, double lr, dp_error *err)
{
    if (options_check_number(&server_option_table, "lr", lr, "lr", err))
        return err->code;
    if (head->state != HEAD_RUNNING)
        return dp_fail(err, DP_REFUSED, "the job is not running");
    if (head->job.core.rule == &rule_ftrl)
        return dp_fail(err, DP_USAGE, "lr cannot be set: ftrl's state is only defined for a constant rate");
    if (head->job.core.params.schedule.change_count == SCHEDULE_CHANGES_MAX)
        return dp_fail(err, DP_BUSY, "lr was set %d times within the steps that are open, try again",
                       SCHEDULE_CHANGES_MAX);
    if (job_has_tables(&head->job) && head->control->lr_sets >= SCHEDULE_PAST_MAX)
        return dp_fail(err, DP_REFUSED, "lr was set %d times, which is the most for a job with tables",
                       SCHEDULE_PAST_MAX);
    return DP_OK;
}

/* The head needs no settings of steps that are complete. */
static void forget_past(struct head *head)
{
    struct shard_job *core = &head->job.core;
    if (head->state != HEAD_RUNNING || head->global_low >= plan_total(&core->plan))
        return;
    uint64_t train_step = plan_at(&core->plan, head->global_low).train_step;
    (void)schedule_forget(&core->params.schedule, train_step);
    consistency_forget(&core->consistency, head->global_low);
}

/* The setting that is asked for, if it can be. */
static dp_err check(const struct head *head, const Dp__Set *set, struct setting *ret_setting, dp_error *err)
{
    struct setting setting = {.kind = SETTING_LR, .lr = set->value};
    dp_err e;
    if (strcmp(set->name, "lr") == 0) {
        e = check_lr(head, setting.lr, err);
    } else if (strcmp(set->name, "consistency") == 0) {
        setting.kind = SETTING_CONSISTENCY;
        e = head_consistency_check(head, set->text, &setting.staleness, err);
    } else {
        return dp_fail(err, DP_USAGE, "'%.64s' cannot be set; what can: lr, consistency", set->name);
    }
    if (e)
        return e;
    if (head->control->busy || head->control->write)
        return dp_fail(err, DP_BUSY, "another setting is being agreed on, try again");
    *ret_setting = setting;
    return DP_OK;
}

void head_on_set(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    dp_error err;
    struct setting setting;
    forget_past(head);
    if (check(head, request->set, &setting, &err)) {
        head_refuse(head, route, request, err.code, err.text);
        return;
    }
    head->control->busy = true;
    head->control->setting = setting;
    head->control->route = *route;
    head->control->request = request->request;
    if (!prepare(head, head->global_low)) {
        (void)dp_fail(&err, DP_BUSY, "a shard has too much to do for a setting");
        head_fail(head, &err);
    }
}

/* The setting that is being agreed on, if there is one, is of steps that will not be. */
void head_control_stop(struct head *head)
{
    Dp__Header request = DP__HEADER__INIT;
    request.request = head->control->request;
    if (head->control->busy)
        head_refuse(head, &head->control->route, &request, DP_BUSY, "the job is settled anew, try again");
    head->control->busy = false;
}
