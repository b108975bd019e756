/* How a server ends: when all is done, by a failure, by signals. Thread: head. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/human.h"
#include "common/base/log.h"
#include "common/base/output.h"
#include "common/base/util.h"
#include "server/talk/shared.h"
#include "server/host/orphans.h"
#include "server/zmtp/gate.h"

enum {
    SAME_SIGNAL_MS = 300, /* a shell may send a signal to the process and to its group */
    LEAVE_MS = 5000,      /* after DONE, how long workers have to say goodbye */
    STOP_LEAVE_MS = 2000, /* after STOPPING */
};

/* ---- what --json ends with ---- */

void head_ends_with(struct head *head, const char *event, const char *reason)
{
    if (head->ending.event)
        return;
    head->ending.event = event;
    (void)str_copy(head->ending.reason, sizeof head->ending.reason, reason);
}

void head_tell_end(struct head *head)
{
    struct ending *ending = &head->ending;
    if (!ending->event || ending->told)
        return;
    ending->told = true;
    progress_ended(&head->progress, mono_ms(),
                   &(struct run_end){.event = ending->event,
                                     .reason = ending->reason,
                                     .exit_code = head->exit_status,
                                     .path = head->saving.path[0] ? head->saving.path : NULL});
}

/* ---- closing ---- */

/* The last thing on the loop: with its handles closed, uv_run returns. */
static void close_handles(struct head *head)
{
    for (uint32_t p = 0; p < head->port_count; p++)
        port_stop(&head->ports[p]);
    if (head->zuv_started)
        zuv_close(&head->zuv, NULL);
    guard_door_close(&head->door);
    if (!head->handles_started)
        return;
    uv_close((uv_handle_t *)&head->wake, NULL);
    uv_close((uv_handle_t *)&head->tick, NULL);
    uv_close((uv_handle_t *)&head->end, NULL);
    uv_close((uv_handle_t *)&head->deal_timer, NULL);
    uv_close((uv_handle_t *)&head->balance.timer, NULL);
    uv_close((uv_handle_t *)&head->on_term, NULL);
    uv_close((uv_handle_t *)&head->on_int, NULL);
    uv_close((uv_handle_t *)&head->on_hup, NULL);
    uv_close((uv_handle_t *)&head->on_child, NULL);
}

void head_on_supervise_ended(void *arg)
{
    close_handles(arg);
}

void head_close(struct head *head)
{
    if (head->state == HEAD_CLOSING)
        return;
    bool done = head->state == HEAD_DONE; /* the workers know, and are about to end */
    if (head->ended_ms == 0)              /* it could not start */
        head->ended_ms = mono_ms();
    head->state = HEAD_CLOSING;
    head_tell_end(head);
    if (head->supervise)
        supervise_end(head->supervise, done);
    else
        close_handles(head);
}

static void on_end(uv_timer_t *timer)
{
    struct head *head = timer->data;
    if (!head->exporting)
        head_close(head);
}

/* By the timer, since callers are in the midst of something. */
void head_see_end(struct head *head)
{
    bool done = head->state == HEAD_DONE && head->opts->exit_when_done;
    if (head->exporting || (!done && head->state != HEAD_STOPPING))
        return;
    uint64_t patience_ms = done ? LEAVE_MS : STOP_LEAVE_MS, gone_ms = mono_ms() - head->ended_ms;
    uint64_t left_ms = head_hung_all(head) ? 0 : patience_ms - MIN(gone_ms, patience_ms);
    uv_timer_start(&head->end, on_end, left_ms, 0);
}

/* `told` is what the workers end with. */
static void stop(struct head *head, int exit_status, dp_err told, const char *text)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return;
    head->exit_status = exit_status;
    head->state = HEAD_STOPPING;
    head->ended_ms = mono_ms();
    if (head->supervise)
        supervise_expect_end(head->supervise);
    head_notice(head, told, text);
    head_see_end(head);
}

static void head_stop(struct head *head, int exit_status, const char *text)
{
    stop(head, exit_status, DP_SHUTDOWN, text);
}

/* Workers end as the server does: there is no sense in starting them again for what would fail again. */
void head_fail(struct head *head, const dp_error *err)
{
    if (head->state == HEAD_STOPPING || head->state == HEAD_CLOSING)
        return;
    progress_end(&head->progress);
    fprintf(stderr, "dp-server: %s\n", err->text);
    head_ends_with(head, err->code == DP_DIVERGED ? "diverged" : "failed", err->text);
    stop(head, dp_err_exit_status(err->code), dp_err_retryable(err->code) ? DP_SHUTDOWN : err->code, err->text);
    if (head->opts->export_path && head->global_low > 0 && head->saving.tries == 0 && !head->saving.path[0])
        head_export_at(head, head->global_low); /* what has been learnt need not be lost */
}

/* ---- time and signals ---- */

static bool is_local_worker(void *arg, pid_t child)
{
    const struct head *head = arg;
    return supervise_knows(head->supervise, child);
}

void head_on_child(uv_signal_t *handle, int number)
{
    (void)number;
    orphans_reap(is_local_worker, handle->data);
}

void head_on_tick(uv_timer_t *tick)
{
    struct head *head = tick->data;
    uint64_t now = mono_ms();
    head_watch(head, now);
    head_crowd_watch(head);
    gate_tick(now);
    orphans_reap(is_local_worker, head);
    head_export_watch(head, now);
    head_fetch_watch(head, now);
    progress_tick(&head->progress, now);
}

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
    if ((head->state == HEAD_STOPPING || head->state == HEAD_CLOSING) && mono_ms() - head->ended_ms < SAME_SIGNAL_MS)
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
        head_stop(head, 0, "the server is shutting down");
        return;
    }
    progress_end(&head->progress);
    tell_stopped(head, name);
    head_stop(head, 128 + number, "the server was stopped by a signal");
    if (head->saving.waiting)
        head_export_give_up(head);
    else if (head->job.settled && head->opts->export_path)
        head_export_at(head, head->global_low);
}
