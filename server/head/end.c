/* The end of a job that went well, by a failure, by signals. Thread: head. */
#include "server/head/end.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/human.h"
#include "common/base/output.h"
#include "server/assign/drop.h"
#include "server/head/consistency.h"
#include "server/host/supervise.h"
#include "server/result/checkpoint.h"
#include "server/result/closing.h"
#include "server/result/doubts.h"
#include "server/result/save.h"
#include "server/talk/journal.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum { SAME_SIGNAL_MS = 300 /* a shell may send a signal to the process and to its group */ };

/* `told` is what the workers end with. */
static void stop(struct head *head, int exit_status, dp_err told, const char *text)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return;
    head->exit_status = exit_status;
    head->state = HEAD_STOPPING;
    head->ending->at_ms = mono_ms();
    if (head->supervise)
        supervise_expect_end(head->supervise);
    if (head->ending->returns)
        head_remark(head, text);
    else
        head_notice(head, told, text);
    head_see_end(head);
}

static void shut_down(struct head *head, int exit_status, const char *text)
{
    stop(head, exit_status, DP_SHUTDOWN, text);
}

/* Workers end as the server does: there is no sense in starting them again for what would fail again. */
void head_end_failed(struct head *head, const struct news *news)
{
    const dp_error *err = news->err;
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return;
    progress_end(&head->progress);
    fprintf(stderr, "dp-server: %s\n", err->text);
    head_ends_with(head, err->code == DP_DIVERGED ? "diverged" : "failed", err->text);
    head_journal(head, "failed", json_pack("{s:s}", "reason", err->text));
    stop(head, dp_err_exit_status(err->code), dp_err_retryable(err->code) ? DP_SHUTDOWN : err->code, err->text);
    if (head->opts->export_path && head_begun(head) && head->saving->tries == 0 && !head->saving->path[0])
        head_export_at(head, head->global_low); /* the parameters so far need not be lost */
}

/* ---- a job that went well ---- */

/* Tells somebody who left an option out. */
static void print_end(const struct server_options *opts)
{
    if (opts->quiet || opts->json)
        return;
    if (!opts->export_path)
        fprintf(stderr, "dp-server: the model was not written: there was no --export FILE\n");
    if (!opts->exit_when_done)
        fprintf(stderr, "dp-server: still here for dp-ctl status until Ctrl-C; --exit-when-done ends by itself\n");
}

/* A summary of nothing would tell nothing. */
static void print_finished(const struct head *head, bool saved)
{
    if (!head->opts->quiet && saved)
        fprintf(stderr, "model written to %s\n", head->saving->path);
}

static void summarize(struct head *head, bool saved)
{
    if (head->opts->json) /* its last event is "done"; people read the last lines */
        head_doubts_end(head);
    struct run_summary summary = {.path = saved ? head->saving->path : NULL,
                                  .dropped = head_drop_json(head),
                                  .staleness = head_staleness_total_json(head)};
    progress_done(&head->progress, head->ending->at_ms, &summary);
    head->ending->told = true;
    json_decref(summary.staleness);
    json_decref(summary.dropped);
    if (!head->opts->json)
        head_doubts_end(head);
    print_end(head->opts);
}

void head_end_saved(struct head *head, const struct news *news)
{
    if (head->state != HEAD_EXPORTING)
        return;
    head->ending->saved_waits = checkpoint_is_busy(head->checkpoints, head->global_low);
    head->ending->saved = news->saved;
    if (head->ending->saved_waits)
        return;
    head->state = HEAD_DONE;
    seats_announce_low(&head->seats, head->global_low); /* it may have waited for the last checkpoint */
    head_journal(head, "done",
                 json_pack("{s:I, s:s?}", "train_step",
                           (json_int_t)plan_trained(&head->job.core.plan, head->global_low), "model",
                           news->saved ? head->saving->path : NULL));
    head->ending->at_ms = mono_ms();
    if (head->ending->finished_before && !head->opts->json)
        print_finished(head, news->saved);
    else
        summarize(head, news->saved);
    head_notice(head, DP_JOB_DONE, "the job is done");
    head_see_end(head);
}

void head_end_checkpoint(struct head *head, const struct news *news)
{
    (void)news;
    if (head->ending->saved_waits)
        head_news(head, &(struct news){.kind = NEWS_SAVED, .saved = head->ending->saved});
    head_see_end(head);
}

/* ---- signals ---- */

/* Training steps, as the display counts them. */
static void tell_stopped(struct head *head, const char *name)
{
    char reason[64];
    snprintf(reason, sizeof reason, "stopped by %s", name);
    head_ends_with(head, "stopped", reason);
    if (head->opts->quiet)
        return;
    struct progress_snapshot s;
    progress_snapshot(&head->progress, mono_ms(), &s);
    fprintf(stderr, "dp-server: stopped by %s after %" PRIu64 " training step%s\n", name, s.train_step,
            human_s(s.train_step));
}

static const char *signal_name(int number)
{
    return number == SIGINT ? "SIGINT" : number == SIGHUP ? "SIGHUP" : "SIGTERM";
}

static void stop_by(struct head *head, int number)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return;
    if (head->state == HEAD_DONE) { /* its last checkpoint came in time */
        shut_down(head, 0, "the server is shutting down");
        return;
    }
    progress_end(&head->progress);
    tell_stopped(head, signal_name(number));
    head_journal(head, "stopped",
                 json_pack("{s:s, s:I}", "signal", signal_name(number), "step", (json_int_t)head->global_low));
    head->ending->returns = head_checkpoint_returns(head);
    shut_down(head, 128 + number,
              head->ending->returns ? "the server was stopped by a signal, and goes on once it is started again"
                                    : "the server was stopped by a signal");
    if (head->saving->waiting)
        head_export_give_up(head);
    else if (head->job.settled && head->opts->export_path && !head->ending->saved_waits)
        head_export_at(head, head->global_low);
}

static void end_at_once(struct head *head, int number)
{
    fprintf(stderr, "dp-server: %s again, ending at once\n", signal_name(number));
    head->exit_status = 128 + number;
    head_exit(head);
}

void head_on_signal(uv_signal_t *handle, int number)
{
    struct head *head = handle->data;
    if ((head->state == HEAD_STOPPING || head->state == HEAD_CLOSING) &&
        mono_ms() - head->ending->at_ms < SAME_SIGNAL_MS)
        return;
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        end_at_once(head, number);
    if (head->state == HEAD_DONE) {
        shut_down(head, 0, "the server is shutting down");
        return;
    }
    if (head->checkpoints->signal && mono_ms() - head->checkpoints->signal_ms < SAME_SIGNAL_MS)
        return;
    if (head->checkpoints->signal) /* again, while a last checkpoint is being made */
        end_at_once(head, number);
    if (head_checkpoint_at_signal(head, number, stop_by))
        supervise_expect_signal(head->supervise);
    else
        stop_by(head, number);
}
