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
#include "server/result/closing.h"
#include "server/result/doubts.h"
#include "server/result/save.h"
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

void head_end_saved(struct head *head, const struct news *news)
{
    if (head->state != HEAD_EXPORTING)
        return;
    head->state = HEAD_DONE;
    head->ending->at_ms = mono_ms();
    if (head->opts->json) /* its last event is "done"; people read the last lines */
        head_doubts_end(head);
    struct run_summary summary = {.path = news->saved ? head->saving->path : NULL,
                                  .dropped = head_drop_json(head),
                                  .staleness = head_staleness_total_json(head)};
    progress_done(&head->progress, head->ending->at_ms, &summary);
    head->ending->told = true;
    json_decref(summary.staleness);
    json_decref(summary.dropped);
    if (!head->opts->json)
        head_doubts_end(head);
    print_end(head->opts);
    head_notice(head, DP_JOB_DONE, "the job is done");
    head_see_end(head);
}

/* ---- signals ---- */

/* Training steps, as the display counts them. */
static void tell_stopped(struct head *head, const char *signal_name)
{
    char reason[64];
    snprintf(reason, sizeof reason, "stopped by %s", signal_name);
    head_ends_with(head, "stopped", reason);
    if (head->opts->quiet)
        return;
    struct progress_snapshot s;
    progress_snapshot(&head->progress, mono_ms(), &s);
    fprintf(stderr, "dp-server: stopped by %s after %" PRIu64 " training step%s\n", signal_name, s.train_step,
            human_s(s.train_step));
}

void head_on_signal(uv_signal_t *handle, int number)
{
    struct head *head = handle->data;
    const char *name = number == SIGINT ? "SIGINT" : number == SIGHUP ? "SIGHUP" : "SIGTERM";
    if ((head->state == HEAD_STOPPING || head->state == HEAD_CLOSING) &&
        mono_ms() - head->ending->at_ms < SAME_SIGNAL_MS)
        return;
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING) {
        fprintf(stderr, "dp-server: %s again, ending at once\n", name);
        head->exit_status = 128 + number;
        head_tell_end(head);
        dp_error err;
        if (output_end_json(&err))
            fprintf(stderr, "dp-server: %s\n", err.text);
        output_end();
        _exit(128 + number);
    }
    if (head->state == HEAD_DONE) {
        shut_down(head, 0, "the server is shutting down");
        return;
    }
    progress_end(&head->progress);
    tell_stopped(head, name);
    shut_down(head, 128 + number, "the server was stopped by a signal");
    if (head->saving->waiting)
        head_export_give_up(head);
    else if (head->job.settled && head->opts->export_path)
        head_export_at(head, head->global_low);
}
