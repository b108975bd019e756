/* The link within the process: order, ownership, levels, and who is woken. */
#include "server/link/link.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "server/link/local.h"
#include "server/step/block_sums.h"
#include "tests/unit/support/leaks.h"

static void count(void *arg)
{
    ++*(int *)arg;
}

struct world {
    struct link_local local;
    int shard, head; /* times that each was woken */
};

static void set_up(struct world *w)
{
    const struct link_rooms rooms = {4, 4, 2};
    w->shard = w->head = 0;
    cr_assert_eq(
        link_local_init(&w->local, &rooms, (struct link_waker){count, &w->shard}, (struct link_waker){count, &w->head}),
        DP_OK);
}

Test(link, commands_come_in_order_and_wake_the_shard)
{
    struct world w;
    struct command got;
    set_up(&w);
    struct shard_link *link = &w.local.link;
    cr_assert(shard_link_send(link, &(struct command){.kind = COMMAND_GO, .go = {7}}));
    cr_assert(shard_link_send(link, &(struct command){.kind = COMMAND_OPEN, .open = {1, 2, strdup("w")}}));
    cr_assert_eq(w.shard, 2);
    cr_assert(link_local_take(&w.local, &got) && got.kind == COMMAND_GO && got.go.step == 7);
    cr_assert(link_local_take(&w.local, &got) && got.kind == COMMAND_OPEN && strcmp(got.open.name, "w") == 0);
    command_fini(&got);
    cr_assert(!link_local_take(&w.local, &got));
    link_local_fini(&w.local);
    ASSERT_NO_LEAKS();
}

Test(link, a_command_that_finds_no_room_stays_the_callers)
{
    struct world w;
    set_up(&w);
    struct command command = {.kind = COMMAND_OPEN, .open = {1, 2, NULL}};
    for (int i = 0; i < 4; i++) {
        command.open.name = strdup("w");
        cr_assert(shard_link_send(&w.local.link, &command));
    }
    command.open.name = strdup("w");
    cr_assert(!shard_link_send(&w.local.link, &command));
    command_fini(&command);
    shard_link_announce_low(&w.local.link, 3); /* needs no room */
    link_local_fini(&w.local);                 /* frees the others */
    ASSERT_NO_LEAKS();
}

Test(link, the_latest_levels_count)
{
    struct world w;
    set_up(&w);
    shard_link_announce_low(&w.local.link, 3);
    shard_link_announce_fences(&w.local.link, 9);
    shard_link_announce_low(&w.local.link, 5);
    struct command_levels levels = link_local_levels(&w.local);
    cr_assert_eq(levels.low, 5);
    cr_assert_eq(levels.fences, 9);
    cr_assert_eq(w.shard, 3);
    cr_assert_eq(shard_link_fenced(&w.local.link), 0);
    link_local_fenced(&w.local, 9);
    cr_assert_eq(shard_link_fenced(&w.local.link), 9);
    cr_assert_eq(w.head, 1);
    link_local_fini(&w.local);
}

Test(link, events_come_back_and_arrivals_may_be_lost)
{
    struct world w;
    struct event event;
    struct arrival arrival;
    set_up(&w);
    double *sums = mem_array_zero(2, sizeof *sums);
    cr_assert(sums);
    link_local_put(&w.local, &(struct event){.kind = EVENT_SUMS, .sums = {1, 0, 2, 2, sums}});
    link_local_put(&w.local, &(struct event){.kind = EVENT_READY, .incarnation = 4, .ready = {8, 2}});
    for (uint32_t i = 0; i < 2; i++)
        cr_assert(link_local_arrived(&w.local, &(struct arrival){.node = i}));
    cr_assert(!link_local_arrived(&w.local, &(struct arrival){.node = 2}));
    cr_assert_eq(w.head, 0, "to wake the head is the caller's");
    cr_assert(shard_link_take(&w.local.link, &event) && event.kind == EVENT_SUMS && event.sums.sums == sums);
    event_fini(&event);
    cr_assert(shard_link_take_arrival(&w.local.link, &arrival) && arrival.node == 0);
    link_local_fini(&w.local);
    ASSERT_NO_LEAKS();
}

Test(link, the_head_need_not_hurry_for_steps_and_reports)
{
    cr_assert_eq(event_wakes(&(struct event){.kind = EVENT_COMPLETED}), EVENT_SOON);
    cr_assert_eq(event_wakes(&(struct event){.kind = EVENT_SUMS, .sums = {.phase = EXCHANGE_REPORT}}), EVENT_LATER);
    cr_assert_eq(event_wakes(&(struct event){.kind = EVENT_SUMS, .sums = {.phase = 0}}), EVENT_NOW);
    cr_assert_eq(event_wakes(&(struct event){.kind = EVENT_FAILED}), EVENT_NOW);
    cr_assert_eq(event_wakes(&(struct event){.kind = EVENT_READY}), EVENT_NOW);
}
