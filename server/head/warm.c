/* A job that begins with values of another one; see warm.h. Thread: head. */
#include "server/head/warm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "server/job/warm.h"
#include "server/result/checkpoint.h"
#include "server/talk/shared.h"

static void say_damaged(void *arg, const dp_error *err)
{
    (void)arg;
    fprintf(stderr, "dp-server: a checkpoint is not used: %s\n", err->text);
}

static void say_opened(const struct head *head, const struct saved *saved)
{
    const char *steps = safetensors_meta_get(&saved->meta, "steps");
    char path[PATH_MAX];
    text_clean(path, sizeof path, saved->path);
    log_info("init-from path=\"%s\" train_step=%.20s", path, steps ? steps : "unknown");
    if (!head->opts->quiet && !head->opts->json)
        fprintf(stderr, "dp-server: begins with the %s %s%s%.20s%s\n", saved->is_checkpoint ? "checkpoint" : "model",
                path, steps ? ", of " : "", steps ? steps : "", steps ? " training steps" : "");
}

dp_err head_warm_open(struct head *head, dp_error *err)
{
    if (!head->opts->init_from || head->checkpoints->resumed)
        return DP_OK;
    struct saved *saved = mem_array_zero(1, sizeof *saved);
    if (!saved)
        return dp_fail(err, DP_NOMEM, "out of memory for the model to begin with");
    dp_err e = saved_open(head->opts->init_from, (struct checkpoint_damage){.tell = say_damaged}, saved, err);
    if (e) {
        free(saved);
        (void)dp_fail_in(err, "option --init-from");
        return e;
    }
    head->warm = saved;
    say_opened(head, saved);
    return DP_OK;
}

dp_err head_warm_check(const struct head *head, dp_error *err)
{
    return head->warm ? job_warm_check(&head->job, head->warm, err) : DP_OK;
}

const char *head_warm_path(const struct head *head)
{
    return head->warm ? head->warm->path : NULL;
}

json_t *head_warm_json(const struct head *head)
{
    char path[PATH_MAX];
    if (!head->warm)
        return json_null();
    text_clean(path, sizeof path, head->warm->path);
    return json_string(path);
}

void head_warm_close(struct head *head)
{
    if (head->warm)
        saved_close(head->warm);
    free(head->warm);
    head->warm = NULL;
}
