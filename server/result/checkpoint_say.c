/* News of checkpoints for people and programs; see checkpoint_say.h. Thread: head. */
#include "server/result/checkpoint_say.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "server/result/checkpoint.h"
#include "server/talk/journal.h"
#include "server/talk/shared.h"

enum { SAY_EVERY_MS = 10000 };

/* A warning that may come with each checkpoint is told now and then. */
static bool may_say(struct checkpoint_news *news)
{
    uint64_t now = mono_ms();
    if (news->told_ms && now - news->told_ms < SAY_EVERY_MS) {
        news->left_out++;
        return false;
    }
    news->told_ms = now;
    return true;
}

/* The folder of a checkpoint, as JSON and the wire take it. */
static const char *path_text(const struct checkpoints *c, uint64_t train_step, char text[PATH_MAX])
{
    char path[PATH_MAX];
    text_clean(text, PATH_MAX, folder_path(&c->folder, train_step, "", path) ? path : c->folder.path);
    return text;
}

void checkpoint_say_made(struct head *head)
{
    const struct checkpoints *c = head->checkpoints;
    char path[PATH_MAX];
    struct checkpoint_made made = {.train_step = c->train_step,
                                   .path = path_text(c, c->train_step, path),
                                   .seconds = (double)(c->last_ms - c->asked_ms) / 1000,
                                   .last = c->reason == CHECKPOINT_WANTED};
    for (size_t i = 0; i < c->file_count; i++)
        made.bytes += c->files[i].bytes;
    progress_checkpoint(&head->progress, c->last_ms, &made);
    log_info("checkpoint train_step=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRIu64, c->train_step, made.bytes,
             c->last_ms - c->asked_ms);
    head_journal(head, "checkpoint",
                 json_pack("{s:I, s:I, s:s, s:I, s:I}", "train_step", (json_int_t)c->train_step, "step",
                           (json_int_t)c->step, "path", path, "bytes", (json_int_t)made.bytes, "ms",
                           (json_int_t)(c->last_ms - c->asked_ms)));
}

/* One that somebody waits for is always told of. */
void checkpoint_say_failed(struct head *head, const dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    if (!may_say(&c->failures) && c->reason == CHECKPOINT_EVERY)
        return;
    log_warn("checkpoint-failed train_step=%" PRIu64 " reason=\"%s\" more=%" PRIu64, c->train_step, err->text,
             c->failures.left_out);
    c->failures.left_out = 0;
    char reason[sizeof err->text];
    text_clean(reason, sizeof reason, err->text);
    head_journal(head, "checkpoint-failed",
                 json_pack("{s:I, s:s}", "train_step", (json_int_t)c->train_step, "reason", reason));
}

void checkpoint_say_late(struct head *head, const char *due)
{
    struct checkpoints *c = head->checkpoints;
    if (!may_say(&c->delays))
        return;
    log_warn("checkpoint-late due=%s reason=\"the one before took until then: the disk is slower than "
             "--checkpoint-every %s\" more=%" PRIu64,
             due, head->opts->checkpoints.every, c->delays.left_out);
    c->delays.left_out = 0;
}

void checkpoint_say_waits(const struct head *head, uint64_t seconds)
{
    const struct checkpoints *c = head->checkpoints;
    char path[PATH_MAX];
    log_warn("checkpoint-waits path=\"%s\" s=%" PRIu64 " reason=\"the job is over, and the disk has not its last "
             "checkpoint yet\" action=\"waiting; Ctrl-C or SIGTERM ends without it\"",
             path_text(c, c->train_step, path), seconds);
}

void checkpoint_say_last(const struct head *head, const char *why)
{
    const struct checkpoints *c = head->checkpoints;
    char path[PATH_MAX];
    if (c->any)
        fprintf(stderr, "dp-server: %s; the job would go on from training step %" PRIu64 ", %s\n", why,
                c->last_train_step, path_text(c, c->last_train_step, path));
    else
        fprintf(stderr, "dp-server: %s; there is none that the job would go on from\n", why);
}

json_t *head_checkpoint_json(const struct head *head)
{
    const struct checkpoints *c = head->checkpoints;
    char dir[PATH_MAX];
    static const char *const STATES[] = {"idle", "cutting", "writing"};
    if (c->folder.path[0] == '\0')
        return json_null();
    text_clean(dir, sizeof dir, c->folder.path);
    return json_pack("{ss so so ss so}", "dir", dir, "training_step",
                     c->any ? json_integer((json_int_t)c->last_train_step) : json_null(), "age_s",
                     c->made ? json_real((double)(mono_ms() - c->last_ms) / 1000) : json_null(), "state",
                     STATES[c->phase], "error", c->error[0] ? json_string(c->error) : json_null());
}
