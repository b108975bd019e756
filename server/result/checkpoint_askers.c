/* Connections that wait for a checkpoint; see checkpoint_askers.h. Thread: head. */
#include "server/result/checkpoint_askers.h"

#include <assert.h>
#include <inttypes.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/result/checkpoint.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum { ASKED_MS = 600000 /* no answer comes later */ };

static dp_err admit(const struct head *head, dp_error *err)
{
    const struct checkpoints *c = head->checkpoints;
    if (c->folder.path[0] == '\0')
        return dp_fail(err, DP_REFUSED, "the server has no --checkpoint-dir");
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return dp_fail(err, DP_SHUTDOWN, "the server is shutting down");
    if (!head->job.settled)
        return dp_fail(err, DP_REFUSED, "the job has not begun: no worker has joined");
    if (head->diverged)
        return dp_fail(err, DP_REFUSED, "training diverged: there is nothing to go on from");
    if (c->asker_count == CHECKPOINT_ASKERS_MAX)
        return dp_fail(err, DP_BUSY, "%d wait for a checkpoint already, try again", CHECKPOINT_ASKERS_MAX);
    return DP_OK;
}

bool checkpoint_admit(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    dp_error err;
    if (admit(head, &err) == DP_OK)
        return true;
    head_refuse(head, route, request, err.code, err.text);
    return false;
}

void checkpoint_ask(struct head *head, const struct routing_id *route, const Dp__Header *request, uint64_t after)
{
    struct checkpoints *c = head->checkpoints;
    assert(c->asker_count < CHECKPOINT_ASKERS_MAX);
    c->askers[c->asker_count++] =
        (struct checkpoint_asker){.route = *route, .request = request->request, .after = after, .asked_ms = mono_ms()};
}

static void answer(struct head *head, const struct checkpoint_asker *asker, const dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    char path[PATH_MAX], clean[FRAME_TEXT_MAX + 1];
    Dp__Header request = DP__HEADER__INIT, header = DP__HEADER__INIT;
    request.request = asker->request;
    if (err->code) {
        head_refuse(head, &asker->route, &request, err->code, err->text);
        return;
    }
    Dp__Checkpointed body = DP__CHECKPOINTED__INIT;
    text_clean(clean, sizeof clean, folder_path(&c->folder, c->last_train_step, "", path) ? path : c->folder.path);
    body.step = c->last_step;
    body.train_step = c->last_train_step;
    body.path = clean;
    header.body_case = DP__HEADER__BODY_CHECKPOINTED;
    header.checkpointed = &body;
    head_reply(head, &asker->route, &request, &header);
}

void checkpoint_answer(struct head *head, uint64_t until, const dp_error *err)
{
    struct checkpoints *c = head->checkpoints;
    uint32_t left = 0;
    for (uint32_t i = 0; i < c->asker_count; i++)
        if (c->askers[i].after < until)
            answer(head, &c->askers[i], err);
        else
            c->askers[left++] = c->askers[i];
    c->asker_count = left;
}

void checkpoint_refuse(struct head *head, dp_err code, const char *text)
{
    dp_error err;
    (void)dp_fail(&err, code, "%s", text);
    checkpoint_answer(head, UINT64_MAX, &err);
}

void checkpoint_watch_askers(struct head *head, uint64_t now_ms)
{
    struct checkpoints *c = head->checkpoints;
    dp_error err;
    for (uint32_t i = 0; i < c->asker_count;) {
        if (now_ms - MIN(now_ms, c->askers[i].asked_ms) <= ASKED_MS) {
            i++;
            continue;
        }
        (void)dp_fail(&err, DP_TIMEOUT, "no checkpoint was whole within %d s: training step %" PRIu64 " is %s",
                      ASKED_MS / 1000, c->train_step,
                      c->phase == CHECKPOINT_CUT && head->global_low < c->step ? "not complete" : "being written");
        answer(head, &c->askers[i], &err);
        c->askers[i] = c->askers[--c->asker_count];
    }
}
