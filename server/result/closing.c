/* The last of a server: the end that --json tells, and the closing of all that is on the loop. Thread: head. */
#include "server/result/closing.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/output.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/assign/hung.h"
#include "server/result/checkpoint.h"
#include "server/result/save.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"

enum {
    LEAVE_MS = 5000,      /* after DONE, how long workers have to say goodbye */
    STOP_LEAVE_MS = 2000, /* after STOPPING */
};

void head_ends_with(struct head *head, const char *event, const char *reason)
{
    if (head->ending->event)
        return;
    head->ending->event = event;
    (void)str_copy(head->ending->reason, sizeof head->ending->reason, reason);
}

void head_tell_end(struct head *head)
{
    struct ending *ending = head->ending;
    if (!ending->event || ending->told)
        return;
    ending->told = true;
    progress_ended(&head->progress, mono_ms(),
                   &(struct run_end){.event = ending->event,
                                     .reason = ending->reason,
                                     .exit_code = head->exit_status,
                                     .path = head->saving->path[0] ? head->saving->path : NULL});
}

void head_exit(struct head *head)
{
    dp_error err;
    head_tell_end(head);
    if (output_end_json(&err))
        fprintf(stderr, "dp-server: %s\n", err.text);
    output_end();
    _exit(head->exit_status);
}

/* The last thing on the loop: with its handles closed, uv_run returns. */
static void close_handles(struct head *head)
{
    seats_stop(&head->seats);
    if (head->talk.zuv_started)
        zuv_close(&head->talk.zuv, NULL);
    zuv_door_close(&head->door);
    if (!head->hearers)
        return;
    uv_close((uv_handle_t *)&head->ending->timer, NULL);
    head_news(head, &(struct news){.kind = NEWS_CLOSING});
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
    if (head->ending->at_ms == 0)         /* it could not start */
        head->ending->at_ms = mono_ms();
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
    if (!head->saving->exporting && !checkpoint_is_busy(head->checkpoints, head->global_low))
        head_close(head);
}

/* The time that workers have to hear of the end. */
static uint64_t patience_of(const struct head *head, bool done)
{
    /* Workers of a finished job look for its server, and are told by this one. */
    if (head->ending->finished_before && head->opts->local_workers == 0)
        return LEAVE_MS;
    if (head->ending->returns || head_hung_all(head))
        return 0;
    return done ? LEAVE_MS : STOP_LEAVE_MS;
}

/* By the timer, since callers are in the midst of something. */
void head_see_end(struct head *head)
{
    bool exits = head->opts->exit_when_done || head->ending->finished_before;
    bool done = head->state == HEAD_DONE && exits;
    if (head->saving->exporting || checkpoint_is_busy(head->checkpoints, head->global_low) ||
        (!done && head->state != HEAD_STOPPING))
        return;
    uint64_t patience_ms = patience_of(head, done), gone_ms = mono_ms() - head->ending->at_ms;
    uint64_t left_ms = patience_ms - MIN(gone_ms, patience_ms);
    uv_timer_start(&head->ending->timer, on_end, left_ms, 0);
}

void head_closing_left(struct head *head, const struct news *news)
{
    (void)news;
    if (head->members.count == 0)
        head_see_end(head);
}
