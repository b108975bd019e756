/* How a server ends: when all is done, by a failure, by signals. Thread: head. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "head.h"
#include "human.h"
#include "log.h"
#include "util.h"

enum {
    SAME_SIGNAL_MS = 300, /* a shell may send a signal to the process and to its group */
    LEAVE_MS = 5000,      /* after DONE, how long workers have to say goodbye */
    STOP_LEAVE_MS = 2000, /* after STOPPING */
};

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
    uv_close((uv_handle_t *)&head->balance.timer, NULL);
    uv_close((uv_handle_t *)&head->on_term, NULL);
    uv_close((uv_handle_t *)&head->on_int, NULL);
    uv_close((uv_handle_t *)&head->on_hup, NULL);
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
    head->state = HEAD_CLOSING;
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
    uint64_t left_ms = head->members.count == 0 ? 0 : patience_ms - MIN(gone_ms, patience_ms);
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
    stop(head, dp_err_exit_status(err->code), dp_err_retryable(err->code) ? DP_SHUTDOWN : err->code, err->text);
}

/* ---- time and signals ---- */

/* ZeroMQ says nothing of connections that it cannot take. */
static void watch_descriptors(struct head *head)
{
    bool crowded = !descriptors_left();
    if (crowded && !head->crowded)
        log_warn("descriptors-used-up workers=%u reason=\"whoever connects now gets no answer: raise the limit of open "
                 "files (ulimit -n)\"",
                 head->members.count);
    if (!crowded && head->crowded)
        log_info("descriptors-left workers=%u", head->members.count);
    head->crowded = crowded;
}

void head_on_tick(uv_timer_t *tick)
{
    struct head *head = tick->data;
    uint64_t now = mono_ms();
    head_watch(head, now);
    watch_descriptors(head);
    progress_tick(&head->progress, now);
}

/* Training steps, as the display counts them. */
static void tell_stopped(const struct head *head, const char *signal_name)
{
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
        _exit(128 + number);
    }
    if (head->state == HEAD_DONE) {
        head_stop(head, 0, "the server is shutting down");
        return;
    }
    progress_end(&head->progress);
    if (!head->opts->quiet)
        tell_stopped(head, name);
    head_stop(head, 128 + number, "the server was stopped by a signal");
    if (head->job.settled && head->opts->export_path)
        head_export_at(head, head->global_low);
}
