/* The end of a job: its model is written to --export FILE. If that fails it is tried again for a while, during which
 * dp-ctl can fetch the model (fetch.c). Invariant: while `exporting`, either work is under way (pins, or a try) or
 * the next try has its time. Thread: head. */
#include "server/result/save.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/human.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/tensor/safetensors_peek.h"
#include "server/result/closing.h"
#include "server/result/doubts.h"
#include "server/result/fetch.h"
#include "server/save/export.h"
#include "server/talk/news.h"
#include "server/talk/shards.h"
#include "server/talk/shared.h"

enum {
    TRY_FIRST_MS = 1000, /* until the first try after one that failed; then twice as long, */
    TRY_MOST_MS = 10000, /* up to that */
    STOPPED_MS = 10000,  /* tries of a model that is not finished: whoever ended the job waits for the end */
    PINS_MS = 60000,     /* for the shards to hand out theta */
    FILE_HEAD_BYTES = 4096,
};

/* ---- before the job ---- */

dp_err head_export_check(struct head *head, dp_error *err)
{
    const char *path = head->opts->export_path;
    if (safetensors_peek_replace(path, true, err))
        return dp_fail_in(err, "option --export");
    head->saving->held = file_hold(path);
    return DP_OK;
}

/* The size of the file, as far as it is known: rows of hashed tables come to be while the job runs. */
static uint64_t file_bytes(const struct job *job)
{
    uint64_t words = 0;
    for (uint32_t t = 0; t < job->core.tensors.count; t++) {
        const struct tensor *tensor = &job->core.tensors.list[t];
        if (tensor->kind == TENSOR_DENSE)
            words += tensor->elems;
        else if (tensor->kind == TENSOR_TABLE)
            words += tensor->shape[0] * tensor->dim;
    }
    return words * sizeof(float) + FILE_HEAD_BYTES;
}

static dp_err check_room(const char *path, uint64_t bytes, dp_error *err)
{
    char need[HUMAN_MAX], have[HUMAN_MAX];
    uint64_t room = file_room_bytes(path);
    if (bytes <= room)
        return DP_OK;
    return dp_fail(err, DP_IO,
                   "%.300s: the model takes %sB, and %sB are free in its folder: make room, or name "
                   "another folder",
                   path, human_count((double)bytes, need), human_count((double)room, have));
}

dp_err head_export_check_room(const struct head *head, dp_error *err)
{
    const char *path = head->opts->export_path;
    struct rlimit limit;
    uint64_t bytes = path ? file_bytes(&head->job) : 0;
    if (path && check_room(path, bytes, err))
        return dp_fail_in(err, "option --export");
    if (path && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes)
        log_warn("export-limit path=\"%s\" model_bytes=%" PRIu64 " limit_bytes=%" PRIu64
                 " reason=\"no file may become so large: raise the limit (ulimit -f) before the job ends\"",
                 path, bytes, (uint64_t)limit.rlim_cur);
    return DP_OK;
}

/* ---- tries ---- */

static void on_written(void *arg, const dp_error *err);

static void try_write(struct head *head)
{
    struct saving *saving = head->saving;
    assert(saving->exporting && export_whole(saving->export));
    const struct export_place place = {.path = head->opts->export_path, .held = &saving->held};
    saving->waiting = false;
    export_write(saving->export, &head->loop, &place, on_written, head);
}

/* A finished model is kept for as long as the user has asked for. */
static uint64_t patience_ms(const struct head *head)
{
    uint64_t asked = head->opts->export_timeout_s * 1000;
    return head->state == HEAD_EXPORTING ? asked : MIN(asked, (uint64_t)STOPPED_MS);
}

static void tell_waiting(const struct head *head)
{
    char took[HUMAN_MAX];
    const struct saving *saving = head->saving;
    if (saving->tries > 1) {
        log_info("export-failed try=%u reason=\"%s\"", saving->tries, saving->err.text);
        return;
    }
    fprintf(stderr, "dp-server: %s; trying again for %s; meanwhile dp-ctl --server %s export FILE fetches the model\n",
            saving->err.text, human_seconds((double)patience_ms(head) / 1000, took), head->endpoint);
}

/* One more try, at the latest when the time is over; while dp-ctl fetches the model it is not. */
static bool may_try_again(struct head *head, uint64_t now_ms)
{
    struct saving *saving = head->saving;
    uint64_t left = saving->failed_ms + patience_ms(head), delay = (uint64_t)TRY_FIRST_MS << MIN(saving->tries - 1, 4u);
    if (head->state == HEAD_CLOSING || patience_ms(head) == 0 || (now_ms >= left && !head_fetching(head)))
        return false;
    delay = MIN(delay, (uint64_t)TRY_MOST_MS);
    saving->next_ms = now_ms >= left ? now_ms + TRY_FIRST_MS : MIN(now_ms + delay, left);
    return true;
}

static void failed(struct head *head, const dp_error *err)
{
    struct saving *saving = head->saving;
    uint64_t now = mono_ms();
    saving->err = *err;
    if (saving->tries++ == 0)
        saving->failed_ms = now;
    if (err->code != DP_IO) /* of a file there may be room for another time; what else failed is begun anew */
        export_free(&saving->export);
    saving->waiting = may_try_again(head, now);
    if (saving->waiting)
        tell_waiting(head);
    else
        head_export_give_up(head);
}

static bool finished(const struct head *head)
{
    return head->job.over || head->saving->step == plan_total(&head->job.core.plan);
}

/* A server that is being stopped has its status already, but must not end as if the model were there. */
void head_export_give_up(struct head *head)
{
    const dp_error *err = &head->saving->err;
    char reason[sizeof head->ending->reason];
    size_t at = 0;
    head->saving->exporting = head->saving->waiting = false;
    export_free(&head->saving->export);
    if (head->state != HEAD_STOPPING) {
        head_fail(head, err);
        return;
    }
    fprintf(stderr, "dp-server: %s; the model is not written\n", err->text);
    (void)str_append(reason, sizeof reason, &at, "%.500s; the model is not written: %.500s", head->ending->reason,
                     err->text);
    bool signalled = head->exit_status > 128;
    if (signalled && !finished(head)) { /* else the signal has ended the tries, and is what the server ends by */
        head->exit_status = dp_err_exit_status(err->code);
        head->ending->event = "failed";
    }
    (void)str_copy(head->ending->reason, sizeof head->ending->reason, reason);
    head_see_end(head);
}

/* The loss is measured before a step's update: the last one's may have been the one too many. */
static void end_not_finite(struct head *head)
{
    dp_error err;
    head->diverged = true;
    (void)dp_fail(&err, DP_DIVERGED,
                  "training diverged: parameters are no finite numbers after the last training step; " DOUBTS_REMEDY);
    head_fail(head, &err);
}

static void on_written(void *arg, const dp_error *err)
{
    struct head *head = arg;
    struct saving *saving = head->saving;
    if (err->code) {
        failed(head, err);
        return;
    }
    struct export_facts facts = export_facts(saving->export);
    (void)str_copy(saving->path, sizeof saving->path, export_path(saving->export));
    export_free(&saving->export);
    saving->exporting = false;
    if (saving->tries > 0)
        log_info("export-written path=\"%s\" tries=%u", saving->path, saving->tries + 1);
    if (head->state == HEAD_EXPORTING && facts.diverged)
        end_not_finite(head);
    if (head->state == HEAD_EXPORTING)
        head_news(head, &(struct news){.kind = NEWS_SAVED, .saved = true});
    else
        fprintf(stderr, "dp-server: %s %s\n",
                facts.diverged   ? "the parameters that diverged are in"
                : facts.complete ? "the finished model is in"
                                 : "the parameters so far (not the finished model) are in",
                saving->path);
    head_see_end(head);
}

void head_export_watch(struct head *head, const struct news *news)
{
    const uint64_t now_ms = news->now_ms;
    struct saving *saving = head->saving;
    dp_error err;
    if (saving->export && !export_whole(saving->export) && now_ms - saving->asked_ms > PINS_MS) {
        (void)dp_fail(&err, DP_TIMEOUT, "not all shards have handed out the model within %d s", PINS_MS / 1000);
        failed(head, &err);
    }
    if (!saving->waiting || now_ms < saving->next_ms)
        return;
    if (!saving->export) {
        saving->exporting = saving->waiting = false;
        head_export_at(head, saving->step);
    } else if (check_room(head->opts->export_path, export_facts(saving->export).bytes, &err)) {
        failed(head, &err);
    } else {
        try_write(head);
    }
}

/* ---- pins ---- */

void head_export_at(struct head *head, uint64_t step)
{
    struct saving *saving = head->saving;
    dp_error err;
    if (saving->exporting)
        return;
    saving->exporting = true;
    saving->step = step;
    saving->asked_ms = mono_ms();
    if (export_new(&head->job, step, &saving->export, &err)) {
        failed(head, &err);
        return;
    }
    if (head->diverged)
        export_mark_diverged(saving->export);
    saving->pin = seats_pin(&head->seats, step);
    if (saving->pin == 0) {
        (void)dp_fail(&err, DP_BUSY, "the shards have too much to do for the export");
        failed(head, &err);
    }
}

bool head_export_pinned(struct head *head, uint32_t shard, struct event *event)
{
    struct saving *saving = head->saving;
    if (!saving->export || event->pinned.pin != saving->pin)
        return false;
    export_add(saving->export, shard, event->pinned.versions, event->pinned.copies);
    if (export_whole(saving->export))
        try_write(head);
    return true;
}

void head_export_fini(struct head *head)
{
    export_free(&head->saving->export);
    if (head->saving->held >= 0)
        close(head->saving->held);
}

/* ---- no step will follow ---- */

void head_export_over(struct head *head, const struct news *news)
{
    (void)news;
    head->state = HEAD_EXPORTING;
    if (head->supervise)
        supervise_expect_end(head->supervise);
    if (head->opts->export_path)
        head_export_at(head, head->global_low);
    else
        head_news(head, &(struct news){.kind = NEWS_SAVED});
}

/* ---- for the status ---- */

json_t *head_export_json(const struct head *head)
{
    const struct saving *saving = head->saving;
    uint64_t now = mono_ms(), until = saving->failed_ms + patience_ms(head);
    const char *path = saving->path[0] ? saving->path : head->opts->export_path;
    const char *state = saving->path[0]     ? "written"
                        : saving->waiting   ? "waiting"
                        : saving->exporting ? "writing"
                                            : "none";
    bool failing = saving->exporting && saving->tries > 0;
    if (!path)
        return json_null();
    return json_pack("{ss ss so so so}", "path", path, "state", state, "reason",
                     failing ? json_string(saving->err.text) : json_null(), "tries",
                     json_integer((json_int_t)saving->tries), "left_s",
                     failing ? json_real((double)(until - MIN(now, until)) / 1000) : json_null());
}
