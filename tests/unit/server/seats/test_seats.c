/* Seats: what is sent to a shard reaches that one, levels go to all, and no seat is asked once its shard has stopped.
 * The shards are links within the process that nobody reads but the test. */
#include "server/seats/seats.h"

#include <criterion/criterion.h>

#include "server/link/local.h"
#include "tests/unit/support/leaks.h"

enum { SHARDS = 3, COMMANDS = 4 };

struct fake {
    struct link_local local;
    struct shard_counters counters;
    int woken, stopped, freed;
};

struct world {
    struct seats seats;
    struct fake fakes[SHARDS];
};

static void count(void *arg)
{
    ++*(int *)arg;
}

static void stop(struct seat *seat)
{
    ((struct fake *)seat->shard)->stopped++;
}

static void free_fake(struct seat *seat)
{
    struct fake *fake = seat->shard;
    fake->freed++;
    link_local_fini(&fake->local);
}

static const struct seat_ops FAKE = {stop, free_fake};

static void add(struct world *w, uint32_t shard)
{
    const struct link_rooms rooms = {COMMANDS, 4, 2};
    struct fake *fake = &w->fakes[shard];
    const struct link_waker waker = {count, &fake->woken};
    cr_assert_eq(link_local_init(&fake->local, &rooms, waker, waker), DP_OK);
    seats_add(&w->seats, &(struct seat){.ops = &FAKE,
                                        .shard = fake,
                                        .link = &fake->local.link,
                                        .counters = &fake->counters,
                                        .endpoint = "tcp://127.0.0.1:1",
                                        .told = "tcp://*:1",
                                        .shm_name = ""});
}

/* Two first, the third later, as another process would bring it. */
static void set_up(struct world *w)
{
    *w = (struct world){0};
    cr_assert_eq(seats_reserve(&w->seats, 2), DP_OK);
    add(w, 0);
    add(w, 1);
    cr_assert_eq(seats_reserve(&w->seats, 1), DP_OK);
    add(w, 2);
    cr_assert_eq(w->seats.count, SHARDS);
}

static void tear_down(struct world *w)
{
    seats_stop(&w->seats);
    seats_fini(&w->seats);
    for (int s = 0; s < SHARDS; s++) {
        cr_assert_eq(w->fakes[s].stopped, 1);
        cr_assert_eq(w->fakes[s].freed, 1);
    }
    ASSERT_NO_LEAKS();
}

Test(seats, keep_their_order_when_more_come)
{
    struct world w;
    set_up(&w);
    for (uint32_t s = 0; s < SHARDS; s++) {
        const struct seat *seat = seats_at(&w.seats, s);
        cr_assert_eq(seat->shard, &w.fakes[s]);
        cr_assert(seat->runs);
        cr_assert_str_eq(seat->told, "tcp://*:1");
    }
    tear_down(&w);
}

Test(seats, a_command_and_an_event_are_of_one_shard)
{
    struct world w;
    struct command got;
    struct event event;
    set_up(&w);
    cr_assert(seats_send(&w.seats, 1, &(struct command){.kind = COMMAND_GO, .go = {7}}));
    cr_assert_not(link_local_take(&w.fakes[0].local, &got));
    cr_assert(link_local_take(&w.fakes[1].local, &got) && got.kind == COMMAND_GO && got.go.step == 7);
    link_local_put(&w.fakes[2].local, &(struct event){.kind = EVENT_FEW, .few = {4}});
    cr_assert_not(seats_take(&w.seats, 0, &event));
    cr_assert(seats_take(&w.seats, 2, &event) && event.few.step == 4);
    cr_assert_not(seats_take(&w.seats, 2, &event));
    tear_down(&w);
}

Test(seats, nothing_is_taken_of_a_shard_that_has_stopped)
{
    struct world w;
    struct event event;
    struct arrival arrival;
    set_up(&w);
    link_local_put(&w.fakes[0].local, &(struct event){.kind = EVENT_FEW, .few = {4}});
    cr_assert(link_local_arrived(&w.fakes[0].local, &(struct arrival){.step = 1}));
    seats_stop(&w.seats);
    cr_assert_not(seats_at(&w.seats, 0)->runs);
    cr_assert_not(seats_take(&w.seats, 0, &event));
    cr_assert_not(seats_take_arrival(&w.seats, &arrival));
    tear_down(&w); /* stops nothing twice, and drops the event */
}

Test(seats, low_is_the_least_of_those_that_hold_something)
{
    struct world w;
    set_up(&w);
    seats_begin(&w.seats, 0, 0);
    seats_begin(&w.seats, 1, UINT64_MAX);
    seats_begin(&w.seats, 2, 0);
    cr_assert_eq(seats_low(&w.seats), 0);
    seats_completed(&w.seats, 0, 0);
    seats_completed(&w.seats, 0, 1);
    cr_assert_eq(seats_low(&w.seats), 0);
    seats_completed(&w.seats, 2, 0);
    cr_assert_eq(seats_low(&w.seats), 1);
    cr_assert_eq(seats_at(&w.seats, 0)->low, 2);
    seats_announce_low(&w.seats, 1);
    for (int s = 0; s < SHARDS; s++)
        cr_assert_eq(link_local_levels(&w.fakes[s].local).low, 1, "all are told, those without parameters too");
    seats_forget(&w.seats);
    cr_assert_eq(seats_low(&w.seats), 0);
    tear_down(&w);
}

Test(seats, a_fence_is_announced_once_all_shards_know_it)
{
    struct world w;
    set_up(&w);
    cr_assert_eq(seats_fence(&w.seats), 1);
    cr_assert_eq(seats_fence(&w.seats), 2);
    link_local_fenced(&w.fakes[0].local, 2);
    link_local_fenced(&w.fakes[1].local, 2);
    seats_see_fences(&w.seats);
    cr_assert_eq(link_local_levels(&w.fakes[0].local).fences, 0);
    link_local_fenced(&w.fakes[2].local, 1);
    seats_see_fences(&w.seats);
    for (int s = 0; s < SHARDS; s++)
        cr_assert_eq(link_local_levels(&w.fakes[s].local).fences, 1);
    link_local_fenced(&w.fakes[2].local, 2);
    seats_see_fences(&w.seats);
    for (int s = 0; s < SHARDS; s++)
        cr_assert_eq(link_local_levels(&w.fakes[s].local).fences, 2);
    const int woken = w.fakes[0].woken;
    seats_see_fences(&w.seats);
    cr_assert_eq(w.fakes[0].woken, woken, "told once");
    tear_down(&w);
}

Test(seats, a_pin_has_a_number_of_its_own_or_none_where_a_shard_is_busy)
{
    struct world w;
    struct command got;
    set_up(&w);
    cr_assert_eq(seats_pin(&w.seats, 9), 1);
    for (int s = 0; s < SHARDS; s++)
        cr_assert(link_local_take(&w.fakes[s].local, &got) && got.kind == COMMAND_PIN && got.pin.step == 9 &&
                  got.pin.pin == 1);
    for (int i = 0; i < COMMANDS; i++)
        cr_assert(seats_send(&w.seats, 2, &(struct command){.kind = COMMAND_OWED}));
    cr_assert_eq(seats_pin(&w.seats, 9), 0);
    while (link_local_take(&w.fakes[2].local, &got))
        ;
    cr_assert_eq(seats_pin(&w.seats, 9), 3, "a number that failed is not given again");
    tear_down(&w);
}

Test(seats, arrivals_come_from_the_shard_that_was_named)
{
    struct world w;
    struct arrival arrival;
    set_up(&w);
    cr_assert(link_local_arrived(&w.fakes[0].local, &(struct arrival){.step = 1}));
    cr_assert(link_local_arrived(&w.fakes[1].local, &(struct arrival){.step = 2}));
    seats_hear_arrivals(&w.seats, 1);
    cr_assert(seats_take_arrival(&w.seats, &arrival) && arrival.step == 2);
    cr_assert_not(seats_take_arrival(&w.seats, &arrival));
    seats_forget(&w.seats);
    cr_assert(seats_take_arrival(&w.seats, &arrival) && arrival.step == 1);
    tear_down(&w);
}
