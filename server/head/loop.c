/* The head's loop: what wakes it, and who hears of what. Thread: head. */
#include "server/head/loop.h"

#include <signal.h>

#include "common/base/clock.h"
#include "server/assign/assign.h"
#include "server/assign/balance.h"
#include "server/assign/deal.h"
#include "server/assign/drop.h"
#include "server/assign/gate.h"
#include "server/assign/guests.h"
#include "server/assign/hung.h"
#include "server/assign/lease.h"
#include "server/assign/owed.h"
#include "server/assign/patience.h"
#include "server/assign/ranks.h"
#include "server/assign/stall.h"
#include "server/head/control.h"
#include "server/head/end.h"
#include "server/head/messages.h"
#include "server/head/steps.h"
#include "server/head/sums.h"
#include "server/host/orphans.h"
#include "server/result/checkpoint_cut.h"
#include "server/result/closing.h"
#include "server/result/fetch.h"
#include "server/result/save.h"
#include "server/talk/crowd.h"
#include "server/talk/journal.h"
#include "server/talk/leave.h"
#include "server/talk/news.h"
#include "server/talk/shared.h"
#include "server/zmtp/watch.h"

enum { TICK_MS = 250 };

/* Letters that are read in one go, for the events of the shard to have their turn. */
enum { READ_MAX = 64 };

static void on_lost(struct head *head, const struct letter *letter)
{
    struct member *member = members_find(&head->members, letter->session);
    if (!member)
        return;
    if (letter->about == ABOUT_ASSIGN)
        head_assigned(head, member, letter->lost);
    else if (letter->lost == DP_UNREACHABLE && letter->about == ABOUT_PROBE)
        head_lose_unconnected(head, member);
    else if (letter->lost == DP_UNREACHABLE && letter->about == ABOUT_NAMESAKE)
        head_fence(head, member, "it was started again");
}

static void read_letter(struct head *head, struct letter *letter)
{
    if (letter->about == ABOUT_TURN)
        head->talk.turn_ms = 0;
    else if (letter->lost)
        on_lost(head, letter);
    else {
        head->talk.reading = letter;
        head_on_message(head, letter->frames, letter->count);
        if (!head->talk.reading)
            return;
        head->talk.reading = NULL;
    }
    post_done(head->talk.post, letter);
}

static void read_letters(struct head *head)
{
    for (int i = 0; head->talk.post && i < READ_MAX; i++) {
        struct letter *letter = post_receive(head->talk.post);
        if (!letter)
            return;
        read_letter(head, letter);
    }
    if (head->talk.post)
        zuv_wake(&head->wake);
}

static bool is_local_worker(void *arg, pid_t child)
{
    const struct head *head = arg;
    return supervise_knows(head->supervise, child);
}

static void on_child(uv_signal_t *handle, int number)
{
    (void)number;
    orphans_reap(is_local_worker, handle->data);
}

/* The functions that hear of news, in their order. Guests are found before slots are dealt, since they get none. A step
 * that is complete is looked back at by whom it had waited for, before the next one's slots are. A tick first forgives
 * time in which nobody could be heard, and last shows what came of it. */
static const struct news_table HEARERS = {
    .of = {
        [NEWS_JOINED] = {head_guests_joined, head_deal_joined, head_journal_joined},
        [NEWS_LEFT] = {head_closing_left, head_guests_left, head_deal_left},
        [NEWS_STEP] = {head_stall_step, head_drop_step, head_balance_step, head_hung_step, head_checkpoint_step},
        [NEWS_OVER] = {head_checkpoint_over, head_export_over},
        [NEWS_SAVED] = {head_end_saved},
        [NEWS_TICK] = {head_lease_watch, head_guests_watch, head_lease_send_again, head_hung_watch, head_balance_watch,
                       head_patience_watch, head_ranks_watch, head_lease_alone, head_crowd_watch, head_loop_tick,
                       head_export_watch, head_fetch_watch, head_checkpoint_watch, head_loop_show},
        [NEWS_CHECKPOINT] = {head_end_checkpoint},
        [NEWS_FAILED] = {head_checkpoint_failed, head_end_failed},
        [NEWS_CLOSING] = {head_deal_close, head_balance_close, head_checkpoint_close, head_control_close,
                          head_loop_close},
    }};

void head_loop_tick(struct head *head, const struct news *news)
{
    gate_tick(news->now_ms);
    orphans_reap(is_local_worker, head);
}

void head_loop_show(struct head *head, const struct news *news)
{
    progress_tick(&head->progress, news->now_ms);
}

static void on_tick(uv_timer_t *tick)
{
    head_news(tick->data, &(struct news){.kind = NEWS_TICK, .now_ms = mono_ms()});
}

/* Theta of a step, for whoever asked for it. */
static void on_pinned(struct head *head, uint32_t shard, struct event *event)
{
    bool holds = job_shard_holds(&head->job.shards[shard]); /* else the model is whole without it */
    if (!holds || !(head_fetch_pinned(head, shard, event) || head_export_pinned(head, shard, event)))
        event_fini(event);
}

static void on_event(struct head *head, uint32_t shard, struct event *event)
{
    switch (event->kind) {
    case EVENT_COMPLETED:
        head_on_completed(head, shard, &event->completed);
        break;
    case EVENT_PINNED:
        on_pinned(head, shard, event);
        break;
    case EVENT_OWED:
        head_on_owed(head, event);
        event_fini(event);
        break;
    case EVENT_SUMS:
        head_on_sums(head, shard, event);
        break;
    case EVENT_PREPARED:
        head_on_prepared(head, event->prepared.step);
        break;
    case EVENT_READY:
        head_gate_on_ready(head, shard, event);
        break;
    case EVENT_FEW:
        head_gate_on_few(head, shard, event);
        break;
    case EVENT_CUT:
        head_on_cut(head, shard, event);
        break;
    case EVENT_FAILED: {
        static const dp_error NOMEM = {DP_NOMEM, "a shard is out of memory"};
        head_fail(head, event->failed ? event->failed : &NOMEM);
        event_fini(event);
        break;
    }
    case EVENT_ARRIVED: /* these have ways of their own */
    case EVENT_FENCED:
    case EVENT_KINDS:
        break;
    }
}

static void on_wake(uv_async_t *wake)
{
    struct head *head = wake->data;
    for (uint32_t s = 0; s < head->seats.count; s++) {
        struct event event;
        while (seats_take(&head->seats, s, &event))
            if (event.incarnation == head->job.incarnation)
                on_event(head, s, &event);
            else
                event_fini(&event); /* of a job before this one: nothing is pinned of it */
    }
    head_on_arrivals(head); /* after the events: those of a step that is complete are here by now */
    head_raise_low(head);
    head_speculate(head);
    seats_see_fences(&head->seats);
    read_letters(head);
}

void head_loop_start(struct head *head)
{
    struct loop_handles *handles = head->handles;
    head->hearers = &HEARERS;
    uv_async_init(&head->loop, &head->wake, on_wake);
    uv_timer_init(&head->loop, &handles->tick);
    uv_timer_init(&head->loop, &head->ending->timer);
    uv_signal_init(&head->loop, &handles->on_term);
    uv_signal_init(&head->loop, &handles->on_int);
    uv_signal_init(&head->loop, &handles->on_hup);
    uv_signal_init(&head->loop, &handles->on_child);
    head->wake.data = handles->tick.data = head->ending->timer.data = handles->on_term.data = handles->on_int.data =
        handles->on_hup.data = handles->on_child.data = head;
    head_deal_open(head);
    head_balance_open(head);
    uv_timer_start(&handles->tick, on_tick, TICK_MS, TICK_MS);
    ticks_start(&head->lease->ticks, mono_ms());
    uv_signal_start(&handles->on_term, head_on_signal, SIGTERM);
    uv_signal_start(&handles->on_int, head_on_signal, SIGINT);
    struct sigaction before; /* nohup has it ignored */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
        uv_signal_start(&handles->on_hup, head_on_signal, SIGHUP);
    if (orphans_are_ours())
        uv_signal_start(&handles->on_child, on_child, SIGCHLD);
}

void head_loop_close(struct head *head, const struct news *news)
{
    struct loop_handles *handles = head->handles;
    (void)news;
    uv_close((uv_handle_t *)&head->wake, NULL);
    uv_close((uv_handle_t *)&handles->tick, NULL);
    uv_close((uv_handle_t *)&handles->on_term, NULL);
    uv_close((uv_handle_t *)&handles->on_int, NULL);
    uv_close((uv_handle_t *)&handles->on_hup, NULL);
    uv_close((uv_handle_t *)&handles->on_child, NULL);
}
